import { type LabelMatcher, matchNothing, selectorMatcher } from '../../api/selectors.ts';
import type { Namespace, Pod } from '../../api/types/core-v1.ts';
import type { LabelSelector } from '../../api/types/meta-v1.ts';
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from '../../api/types/networking-v1.ts';
import type { SharedPolicy, SharedPolicyPeer, SharedPolicyRule } from '../../wire/messages.ts';

/** What of the cluster a policy's peers are chosen from. */
export interface PolicyWorld {
  namespaces: readonly Namespace[];
  podsOf: (namespace: string) => readonly Pod[];
}

/**
 * A policy with its peers looked up: namespaces by name, pods by address. Selectors go along, because a board judges its
 * own pods itself: at once, before the server has heard of their addresses, and while it is cut off.
 */
export function sharedPolicy(policy: NetworkPolicy, world: PolicyWorld): SharedPolicy {
  const { spec = {}, metadata } = policy;
  const namespace = metadata.namespace ?? '';
  const types: readonly string[] =
    spec.policyTypes ?? (spec.egress && spec.egress.length > 0 ? ['Ingress', 'Egress'] : ['Ingress']);
  return {
    v: 1,
    namespace,
    name: metadata.name ?? '',
    podSelector: spec.podSelector ?? {},
    ...(types.includes('Ingress')
      ? {
          ingress: (spec.ingress ?? []).map((rule) =>
            sharedRule(rule.from, rule.ports, false, namespace, world),
          ),
        }
      : {}),
    ...(types.includes('Egress')
      ? { egress: (spec.egress ?? []).map((rule) => sharedRule(rule.to, rule.ports, true, namespace, world)) }
      : {}),
  };
}

function sharedRule(
  peers: readonly NetworkPolicyPeer[] | undefined,
  ports: readonly NetworkPolicyPort[] | undefined,
  outwards: boolean,
  namespace: string,
  world: PolicyWorld,
): SharedPolicyRule {
  // The name of a port is the receiving pod's: to go out by one, it has to be known of every peer.
  const named = outwards && (ports ?? []).some(({ port }) => typeof port === 'string');
  const everyPod = { namespaceSelector: {} };
  const wanted = peers?.length ? peers : named ? [everyPod] : undefined;
  return {
    ...(wanted ? { peers: wanted.map((peer) => sharedPeer(peer, named, namespace, world)) } : {}),
    ...(ports?.length
      ? {
          ports: ports.map(({ protocol = 'TCP', port, endPort }) => ({
            protocol,
            ...(port === undefined ? {} : { port }),
            ...(endPort === undefined ? {} : { endPort }),
          })),
        }
      : {}),
  };
}

function sharedPeer(
  { ipBlock, namespaceSelector, podSelector = {} }: NetworkPolicyPeer,
  named: boolean,
  namespace: string,
  { namespaces, podsOf }: PolicyWorld,
): SharedPolicyPeer {
  if (ipBlock) {
    const { cidr, except } = ipBlock;
    return except?.length ? { cidr, except: [...except] } : { cidr };
  }
  const chosen = namespaceSelector
    ? namespaces
        .filter(({ metadata }) => matcher(namespaceSelector)(metadata.labels))
        .map(({ metadata }) => metadata.name ?? '')
        .sort()
    : [namespace];
  const matches = matcher(podSelector);
  const pods = chosen
    .flatMap((name) => podsOf(name).filter((pod) => isPeer(pod) && matches(pod.metadata.labels)))
    .map((pod) => ({
      ip: pod.status?.podIP ?? '',
      node: pod.spec?.nodeName ?? '',
      ...(named ? { ports: namedPorts(pod) } : {}),
    }))
    .sort((a, b) => (a.ip < b.ip ? -1 : 1));
  return { namespaces: chosen, podSelector, pods };
}

/** Pods of the host network have a node's address: to a policy they are that node. */
function isPeer({ spec, status }: Pod): boolean {
  if (spec?.hostNetwork || status?.phase === 'Succeeded' || status?.phase === 'Failed') return false;
  return Boolean(status?.podIP);
}

function namedPorts({ spec }: Pod): { name: string; protocol: 'TCP' | 'UDP' | 'SCTP'; port: number }[] {
  const sidecars = (spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  return [...(spec?.containers ?? []), ...sidecars].flatMap(({ ports }) =>
    (ports ?? []).flatMap(({ name, protocol = 'TCP', containerPort }) =>
      name ? [{ name, protocol, port: containerPort }] : [],
    ),
  );
}

/** What is stored has been validated; a selector that this version cannot read selects nothing. */
function matcher(selector: LabelSelector): LabelMatcher {
  try {
    return selectorMatcher(selector);
  } catch {
    return matchNothing;
  }
}

/** Is there anything of a pod's change that a policy could depend on? */
export function policyRelevant(pod: Pod, old: Pod | undefined): boolean {
  if (!old) return true;
  return (
    pod.status?.podIP !== old.status?.podIP ||
    isPeer(pod) !== isPeer(old) ||
    JSON.stringify(pod.metadata.labels) !== JSON.stringify(old.metadata.labels)
  );
}
