import { LABEL } from '../../src/agent/names.ts';
import type { KubeObject } from '../../src/api/object.ts';
import type { DaemonSet, Deployment, ReplicaSet, StatefulSet } from '../../src/api/types/apps-v1.ts';
import type { Job } from '../../src/api/types/batch-v1.ts';
import type {
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  Service,
} from '../../src/api/types/core-v1.ts';
import type { EndpointSlice } from '../../src/api/types/discovery-v1.ts';
import type { PodDisruptionBudget } from '../../src/api/types/policy-v1.ts';
import type { Store } from '../../src/server/store/port.ts';
import { parseTopic } from '../../src/wire/topics.ts';
import type { Board } from './board.ts';
import type { Cluster } from './cluster.ts';
import { storageProblems } from './invariants-storage.ts';
import {
  budgetProblems,
  daemonSetProblems,
  deploymentProblems,
  jobProblems,
  replicaSetProblems,
  statefulSetProblems,
} from './invariants-workloads.ts';

/** No cluster of this size has more to tell within an hour. */
const MOST_EVENTS = 4000;

const OWNED = [
  'pods',
  'replicasets.apps',
  'controllerrevisions.apps',
  'jobs.batch',
  'persistentvolumeclaims',
  'endpointslices.discovery.k8s.io',
];
const OWNERS: Readonly<Record<string, string>> = {
  ReplicaSet: 'replicasets.apps',
  Deployment: 'deployments.apps',
  DaemonSet: 'daemonsets.apps',
  StatefulSet: 'statefulsets.apps',
  Job: 'jobs.batch',
  CronJob: 'cronjobs.batch',
  Pod: 'pods',
  Service: 'services',
};

/** What is not as it has to be when everything works and nobody does anything: empty when the cluster is right. */
export function problems(cluster: Cluster): string[] {
  const { plane } = cluster.server;
  if (!plane) return ['the server is down'];
  const of = <T>(bucket: string): T[] => plane.store.list(bucket).map(({ object }) => object as unknown as T);
  const pods = of<Pod>('pods');
  return [
    ...nodeProblems(of<Node>('nodes'), cluster.boards),
    ...pods.flatMap((pod) => podProblems(pod, cluster)),
    ...cluster.boards.flatMap((board) => boardProblems(board, pods)),
    ...of<Deployment>('deployments.apps').flatMap(deploymentProblems),
    ...of<ReplicaSet>('replicasets.apps').flatMap((set) => replicaSetProblems(set, pods)),
    ...of<DaemonSet>('daemonsets.apps').flatMap((set) => daemonSetProblems(set, cluster.boards.length)),
    ...of<StatefulSet>('statefulsets.apps').flatMap(statefulSetProblems),
    ...of<Job>('jobs.batch').flatMap((job) => jobProblems(job, cluster)),
    ...serviceProblems(of<Service>('services'), pods, of<EndpointSlice>('endpointslices.discovery.k8s.io')),
    ...storageProblems({
      pods,
      claims: of<PersistentVolumeClaim>('persistentvolumeclaims'),
      volumes: of<PersistentVolume>('persistentvolumes'),
      boards: cluster.boards.filter(({ name }) => !cluster.workload.givenUp.has(name)),
    }),
    ...ownerProblems(
      OWNED.flatMap((bucket) => of<KubeObject>(bucket)),
      plane.store,
    ),
    ...of<PodDisruptionBudget>('poddisruptionbudgets.policy').flatMap((budget) =>
      budgetProblems(budget, pods),
    ),
    ...topicProblems(cluster, pods),
    ...queueProblems(cluster),
    ...(plane.store.count('events') > MOST_EVENTS ? [`${plane.store.count('events')} events`] : []),
  ];
}

/** Nothing outlives what it belongs to. */
function ownerProblems(objects: readonly KubeObject[], store: Store): string[] {
  return objects.flatMap(({ kind, metadata }) =>
    (metadata.ownerReferences ?? []).flatMap((owner) => {
      const bucket = OWNERS[owner.kind];
      if (bucket === undefined) return [`${kind} ${metadata.name} belongs to an unknown ${owner.kind}`];
      const found = store.get(bucket, `${metadata.namespace}/${owner.name}`)?.object;
      return found?.metadata.uid === owner.uid
        ? []
        : [
            `${kind} ${metadata.namespace}/${metadata.name} belongs to ${owner.kind} ${owner.name}, which is gone`,
          ];
    }),
  );
}

function nodeProblems(nodes: readonly Node[], boards: readonly Board[]): string[] {
  const found: string[] = [];
  for (const { name } of boards) {
    const node = nodes.find(({ metadata }) => metadata.name === name);
    const ready = node?.status?.conditions?.find(({ type }) => type === 'Ready')?.status;
    if (ready !== 'True') found.push(`node ${name} is ${ready ?? 'missing'}`);
    const taints = node?.spec?.taints?.map(({ key }) => key) ?? [];
    if (taints.length > 0) found.push(`node ${name} has taints ${taints.join(' ')}`);
    if (!node?.spec?.podCIDR) found.push(`node ${name} has no pod CIDR`);
  }
  const cidrs = nodes.map(({ spec }) => spec?.podCIDR);
  if (new Set(cidrs).size < cidrs.length) found.push(`nodes share a pod CIDR: ${cidrs.join(' ')}`);
  return found;
}

function isEnded({ status }: Pod): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed';
}

function titleOf({ metadata }: Pod): string {
  return `pod ${metadata.namespace}/${metadata.name} (${metadata.uid?.slice(0, 8)})`;
}

function podProblems(pod: Pod, cluster: Cluster): string[] {
  const title = titleOf(pod);
  if (pod.metadata.deletionTimestamp !== undefined) return [`${title} is still being deleted`];
  if (!pod.spec?.nodeName) return [`${title} has no node`];
  const board = cluster.boards.find(({ name }) => name === pod.spec?.nodeName);
  if (!board) return [`${title} is bound to the unknown node ${pod.spec.nodeName}`];
  const containers = board.machine.engine.all.filter(
    ({ labels }) => labels[LABEL.podUid] === pod.metadata.uid,
  );
  const running = containers.filter(({ state }) => state === 'running');
  if (isEnded(pod)) {
    return running.length > 0
      ? [`${title} has ended and runs ${running.map(({ name }) => name).join(' ')}`]
      : [];
  }
  const found: string[] = [];
  const image = pod.spec.containers[0]?.image ?? '';
  // What fails again and again is waiting most of the time, what works ends.
  if (image.includes('fail')) return [];
  if (image.includes('work')) return [`${title} has not ended`];
  const sandboxes = running.filter(({ labels }) => labels[LABEL.type] === 'podsandbox');
  if (sandboxes.length !== 1) found.push(`${title} has ${sandboxes.length} running sandboxes`);
  for (const { name, image: wanted } of pod.spec.containers) {
    const own = running.filter(
      ({ labels }) => labels[LABEL.type] !== 'podsandbox' && labels[LABEL.containerName] === name,
    );
    if (own.length !== 1) found.push(`${title} has ${own.length} running containers ${name}`);
    else if (own[0]?.image !== wanted) found.push(`${title} runs ${own[0]?.image} instead of ${wanted}`);
    const status = pod.status?.containerStatuses?.find((each) => each.name === name);
    if (own[0] && status?.containerID !== `docker://${own[0].id}`)
      found.push(`${title} reports the container ${status?.containerID} instead of ${own[0].id}`);
  }
  if (pod.status?.phase !== 'Running') found.push(`${title} is ${pod.status?.phase}`);
  const ready = pod.status?.conditions?.find(({ type }) => type === 'Ready')?.status;
  if (ready !== 'True') found.push(`${title} is not ready`);
  const address = board.addresses.get(pod.metadata.uid ?? '');
  if (address === undefined || pod.status?.podIP !== address) {
    found.push(`${title} has the address ${address} and reports ${pod.status?.podIP}`);
  }
  return found;
}

/** Nothing is left on the board of what is not there any more. */
function boardProblems(board: Board, pods: readonly Pod[]): string[] {
  const found: string[] = [];
  const mine = new Map(
    pods.filter(({ spec }) => spec?.nodeName === board.name).map((pod) => [pod.metadata.uid ?? '', pod]),
  );
  const live = new Map([...mine].filter(([, pod]) => !isEnded(pod)));
  for (const { labels, name } of board.machine.engine.all) {
    if (!mine.has(labels[LABEL.podUid] ?? '')) found.push(`${board.name} still has container ${name}`);
  }
  for (const uid of board.addresses.keys()) {
    if (!live.has(uid)) found.push(`${board.name} still holds the address of ${uid}`);
  }
  for (const uid of board.disk.pods)
    if (!live.has(uid)) found.push(`${board.name} still holds volumes of ${uid}`);
  const ips = [...board.addresses.values()];
  if (new Set(ips).size < ips.length) found.push(`${board.name} gave an address twice`);
  const { agent } = board;
  if (!agent) return [...found, `${board.name} has no agent`];
  agent.journal.flush();
  const journal = board.journalDisk.contents();
  for (const id of journal.keys()) {
    const [kind, key = ''] = id.split('|');
    if ((kind === 'pod' || kind === 'status') && !mine.has(key)) {
      found.push(`${board.name}'s journal still has the ${kind} of ${key}`);
    }
  }
  for (const uid of mine.keys()) {
    if (!journal.has(`pod|${uid}`)) found.push(`${board.name}'s journal lacks pod ${uid}`);
    if (!agent.core.desired.pod(uid)) found.push(`${board.name} does not know pod ${uid}`);
  }
  for (const { metadata } of agent.core.desired.pods()) {
    if (!mine.has(metadata.uid ?? ''))
      found.push(`${board.name} still wants pod ${metadata.name} (${metadata.uid})`);
  }
  if (agent.core.reporter.unacknowledged > 0) {
    found.push(`${board.name} has ${agent.core.reporter.unacknowledged} reports without acknowledgement`);
  }
  return found;
}

function serviceProblems(
  services: readonly Service[],
  pods: readonly Pod[],
  slices: readonly EndpointSlice[],
): string[] {
  const found: string[] = [];
  const addresses = new Set<string>();
  for (const { metadata, spec } of services) {
    const title = `service ${metadata.namespace}/${metadata.name}`;
    if (!spec?.clusterIP || addresses.has(spec.clusterIP))
      found.push(`${title} has the address ${spec?.clusterIP}`);
    addresses.add(spec?.clusterIP ?? '');
    const { selector } = spec ?? {};
    if (!selector) continue;
    const wanted = pods
      .filter(
        (pod) =>
          pod.metadata.namespace === metadata.namespace &&
          Object.entries(selector).every(([key, value]) => pod.metadata.labels?.[key] === value) &&
          pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True'),
      )
      .map(({ status }) => status?.podIP)
      .sort();
    const has = slices
      .filter(({ metadata: slice }) => slice.labels?.['kubernetes.io/service-name'] === metadata.name)
      .filter(({ metadata: slice }) => slice.namespace === metadata.namespace)
      .flatMap(({ endpoints }) => endpoints ?? [])
      .filter(({ conditions }) => conditions?.ready)
      .map(({ addresses: [ip] }) => ip)
      .sort();
    if (wanted.join() !== has.join()) found.push(`${title} has endpoints [${has}] instead of [${wanted}]`);
  }
  return found;
}

/** The broker retains what is and nothing else. */
function topicProblems({ broker }: Cluster, pods: readonly Pod[]): string[] {
  const found: string[] = [];
  const missing = new Map(
    pods.map(({ metadata, spec }) => [`${spec?.nodeName}/${metadata.uid}`, metadata.name]),
  );
  for (const topic of broker.retainedTopics()) {
    const [branch, node, section, kind, uid] = parseTopic(topic) ?? [];
    if (branch !== 'nodes' || section !== 'desired' || kind !== 'pods') continue;
    if (!missing.delete(`${node}/${uid}`)) found.push(`the broker still retains ${topic}`);
  }
  for (const [key, name] of missing)
    if (!key.startsWith('undefined')) found.push(`pod ${name} was not sent to ${key}`);
  return found;
}

function queueProblems({ server }: Cluster): string[] {
  const { plane } = server;
  if (!plane) return [];
  const found: string[] = [];
  if (!plane.ingest.idle) found.push('reports of agents wait to be written');
  if (!plane.desiredPublisher.idle) found.push('desired state waits to be published');
  if (!plane.servicesPublisher.idle) found.push('services wait to be published');
  const { active, backoff, waiting } = plane.scheduler.pending;
  if (active + backoff + waiting > 0)
    found.push(`pods wait to be scheduled: ${active} ${backoff} ${waiting}`);
  return found;
}
