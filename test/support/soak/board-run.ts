import type { Pod } from '../../../src/api/types/core-v1.ts';
import type { Board } from '../boards.ts';
import type { Cluster } from '../cluster.ts';
import type { ListedContainer } from '../docker-daemon.ts';
import type { KubeSocket } from '../kube-socket.ts';
import type { SeededRandom } from '../seeded-random.ts';
import { untilRandomMoment } from '../wait.ts';
import { type Holdings, holdings } from './census.ts';
import { type KubeObject, makeWorkload, SHAPE_NAMES, SOAK_LABEL, type Workload } from './shapes.ts';

export const NAMESPACE = 'soak';

const LABEL = {
  uid: 'io.kubernetes.pod.uid',
  namespace: 'io.kubernetes.pod.namespace',
  container: 'io.kubernetes.container.name',
  attempt: 'io.kubernetes.container.restartCount',
};
/** What one round makes at the least, and how long its faults go on. */
const PODS_A_ROUND = 24;
const ROUND_MS = 7_000;
const CONTAINER_KILLS = 6;
/** How many workloads live on from round to round. */
const KEPT = 8;

const PATHS: Readonly<Record<string, string>> = {
  Pod: 'api/v1|pods',
  ConfigMap: 'api/v1|configmaps',
  Secret: 'api/v1|secrets',
  Service: 'api/v1|services',
  Deployment: 'apis/apps/v1|deployments',
  StatefulSet: 'apis/apps/v1|statefulsets',
  Job: 'apis/batch/v1|jobs',
};

/** Which parties are killed in a round, besides containers. */
export interface Faults {
  server: boolean;
  engine: boolean;
}

/** Makes and deletes pods on one board under faults, and knows what should be there. */
export class BoardRun {
  /** Of all pods that were ever seen. */
  readonly uids = new Set<string>();
  /** What was seen that must never be. */
  readonly violations: string[] = [];
  readonly rounds: ({ round: number; pods: number; kills: string[] } & Holdings)[] = [];
  podsMade = 0;
  private readonly board: Board;
  private readonly cluster: Cluster;
  private readonly api: KubeSocket;
  private readonly random: SeededRandom;
  private readonly shapes: string[] = [];
  private living: Workload[] = [];
  private made = 0;

  constructor(options: { board: Board; cluster: Cluster; api: KubeSocket; random: SeededRandom }) {
    this.board = options.board;
    this.cluster = options.cluster;
    this.api = options.api;
    this.random = options.random;
  }

  get workloads(): readonly Workload[] {
    return this.living;
  }

  async pods(): Promise<Pod[]> {
    const pods = await this.api.items<Pod>(`/api/v1/namespaces/${NAMESPACE}/pods`);
    for (const { metadata } of pods) this.uids.add(metadata.uid ?? '');
    return pods;
  }

  containers(): Promise<ListedContainer[]> {
    return this.board.docker.containers({ [LABEL.namespace]: NAMESPACE }, true);
  }

  async make(shape: string): Promise<Workload> {
    this.made += 1;
    const workload = makeWorkload(shape, this.made);
    this.podsMade += workload.pods;
    for (const object of workload.objects) await this.api.insist('POST', pathOf(object.kind), { ...object });
    // From now on it may be deleted: its pods have hardly begun.
    this.living.push(workload);
    return workload;
  }

  async unmake(workload: Workload): Promise<void> {
    this.living = this.living.filter((each) => each !== workload);
    for (const object of [...workload.objects].reverse()) {
      await this.api.insist('DELETE', `${pathOf(object.kind)}/${object.metadata.name}`, {
        apiVersion: 'v1',
        kind: 'DeleteOptions',
        propagationPolicy: 'Background',
      });
    }
  }

  /** Makes a round's pods and deletes older ones (some while they start), while containers and parties are killed. */
  async round(number: number, faults: Faults): Promise<void> {
    const random = this.random.fork(`round/${number}`);
    const kills: string[] = [];
    let wanted = PODS_A_ROUND;
    const making: Promise<unknown>[] = [];
    while (wanted > 0) {
      const shape = this.nextShape(random);
      const at = random.integer(ROUND_MS / 2);
      making.push(untilRandomMoment(at).then(() => this.make(shape)));
      wanted -= makeWorkload(shape, 0).pods;
    }
    const chaos = this.strike(random.fork('kills'), faults, kills);
    const deleting = this.deleteSome(random.fork('deletes'));
    await Promise.all([...making, chaos, deleting]);
    await this.pods();
    const { pid } = this.cluster.process;
    this.rounds.push({ round: number, pods: this.podsMade, kills, ...holdings(this.board, pid) });
  }

  /** What is not as it shall be, yet; empty in the end. */
  async unsettled(): Promise<string[]> {
    const pods = await this.pods();
    const found: string[] = [];
    for (const { name, missing } of this.living) {
      const own = pods.filter(({ metadata }) => metadata.labels?.[SOAK_LABEL] === name);
      const lacks = missing(own);
      if (lacks !== undefined) found.push(`${name}: ${lacks}`);
    }
    const names = new Set(this.living.map(({ name }) => name));
    for (const { metadata } of pods) {
      if (!names.has(metadata.labels?.[SOAK_LABEL] ?? '')) found.push(`${metadata.name} is still there`);
      if (metadata.deletionTimestamp) found.push(`${metadata.name} is still being deleted`);
    }
    return [...found, ...(await this.wrongContainers(pods))];
  }

  /** Containers that the engine has and the API does not want, or the other way round. */
  private async wrongContainers(pods: readonly Pod[]): Promise<string[]> {
    const containers = await this.containers();
    const found: string[] = [];
    const known = new Map(pods.map((pod) => [pod.metadata.uid ?? '', pod]));
    for (const { Names, Labels } of containers) {
      if (!known.has(Labels[LABEL.uid] ?? '')) found.push(`${Names[0]} belongs to no pod`);
    }
    const running = new Set(containers.filter(({ State }) => State === 'running').map(({ Id }) => Id));
    for (const [uid, { metadata, status }] of known) {
      const own = containers.filter(({ Labels }) => Labels[LABEL.uid] === uid);
      const sandboxes = own.filter((each) => each.Labels[LABEL.container] === 'POD' && running.has(each.Id));
      const ended = status?.phase === 'Succeeded' || status?.phase === 'Failed';
      // A pod that waits for a volume has no need of a sandbox yet.
      const most = ended ? 0 : 1;
      if (sandboxes.length > most) found.push(`${metadata.name} has ${sandboxes.length} sandboxes`);
      for (const { name, state, containerID } of [
        ...(status?.containerStatuses ?? []),
        ...(status?.initContainerStatuses ?? []),
      ]) {
        const instances = own.filter(({ Labels }) => Labels[LABEL.container] === name);
        if (instances.length > 2) found.push(`${metadata.name}/${name} has ${instances.length} instances`);
        const alive = instances.filter(({ Id }) => running.has(Id)).map(({ Id }) => `docker://${Id}`);
        const said = state?.running && containerID ? [containerID] : [];
        // One that crashes again and again may have started or ended since the API was asked.
        if (alive.join() !== said.join())
          found.push(`${metadata.name}/${name} runs as ${alive}, said ${said}`);
      }
    }
    return found;
  }

  private nextShape(random: SeededRandom): string {
    if (this.shapes.length === 0) {
      const left = [...SHAPE_NAMES];
      while (left.length > 0) this.shapes.push(...left.splice(random.integer(left.length), 1));
    }
    return this.shapes.pop() as string;
  }

  private async deleteSome(random: SeededRandom): Promise<void> {
    for (let step = 0; step < 12; step += 1) {
      await untilRandomMoment(random.integer(ROUND_MS / 6));
      if (this.living.length <= KEPT) continue;
      await this.unmake(random.pick(this.living));
    }
    while (this.living.length > KEPT) await this.unmake(random.pick(this.living));
  }

  private async strike(random: SeededRandom, faults: Faults, kills: string[]): Promise<void> {
    const plan = Array.from({ length: CONTAINER_KILLS }, () => 'container');
    if (faults.server) plan.splice(random.integer(plan.length), 0, 'server');
    if (faults.engine) plan.splice(random.integer(plan.length), 0, 'engine');
    for (const victim of plan) {
      await untilRandomMoment(random.integer((2 * ROUND_MS) / plan.length));
      kills.push(victim);
      if (victim === 'server') await this.cluster.killAndRestart();
      else if (victim === 'engine') {
        await this.board.docker.kill();
        await this.board.docker.start();
      } else await this.killContainer(random);
    }
  }

  /** One that has not been restarted yet, so that nobody waits for a long back-off in the end. */
  private async killContainer(random: SeededRandom): Promise<void> {
    const containers = (await this.containers()).filter(({ State }) => State === 'running');
    this.checkTwins(containers);
    const fresh = containers.filter(({ Labels }) => Labels[LABEL.attempt] === '0');
    if (fresh.length === 0) return;
    const { Id } = random.pick(fresh);
    // It may have ended since it was listed.
    await this.board.docker.call('POST', `/containers/${Id}/kill`).catch(() => {});
  }

  /** A container of a pod never runs twice at the same time. */
  private checkTwins(running: readonly ListedContainer[]): void {
    const seen = new Set<string>();
    for (const { Labels, Names } of running) {
      const key = `${Labels[LABEL.uid]}/${Labels[LABEL.container]}`;
      if (seen.has(key)) this.violations.push(`${Names[0]} runs twice`);
      seen.add(key);
    }
  }
}

function pathOf(kind: KubeObject['kind']): string {
  const [group, resource] = (PATHS[kind] ?? '').split('|');
  if (!resource) throw new Error(`no path for ${kind}`);
  return `/${group}/namespaces/${NAMESPACE}/${resource}`;
}
