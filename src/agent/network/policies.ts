import { createHash } from 'node:crypto';
import { type LabelMatcher, matchNothing, selectorMatcher } from '../../api/selectors.ts';
import type { Pod } from '../../api/types/core-v1.ts';
import type { LabelSelector } from '../../api/types/meta-v1.ts';
import type { SharedPolicy, SharedPolicyPeer, SharedPolicyRule } from '../../wire/messages.ts';
import { isIPv4 } from './ipv4.ts';
import type { Fragment } from './ruleset-book.ts';

/** A pod of this board that has an interface. */
export interface LocalPod {
  ip: string;
  pod: Pod;
}

type Direction = 'ingress' | 'egress';
type PodPeer = Exclude<SharedPolicyPeer, { cidr: string }>;

/** Declarations for the frame. */
export const POLICY_MAPS = [
  '  map policy-ingress { type ipv4_addr : verdict; }\n',
  '  map policy-egress { type ipv4_addr : verdict; }\n',
  '  set policy-self { type ipv4_addr . ipv4_addr; }\n',
].join('');

/**
 * Behind the look-up of a connection's state, on the way through the board. What a pod and its own board say to each
 * other passes other hooks and is always allowed, as Kubernetes has it; that includes the cluster's DNS.
 */
export const POLICY_RULES = [
  // A pod cannot shut itself out.
  'ip saddr . ip daddr @policy-self accept',
  'ip saddr vmap @policy-egress',
  'ip daddr vmap @policy-ingress',
];

interface Draft {
  sets: Map<string, string>;
  chains: Map<string, readonly string[]>;
  elements: Map<string, Map<string, string>>;
}

/** What all policies together contribute to the table. */
export function policyFragment(input: {
  nodeName: string;
  policies: readonly SharedPolicy[];
  pods: readonly LocalPod[];
}): Fragment {
  const draft: Draft = { sets: new Map(), chains: new Map(), elements: new Map() };
  addPolicies(draft, input);
  return {
    sets: [...draft.sets],
    chains: [...draft.chains],
    elements: [...draft.elements].flatMap(([map, entries]) =>
      [...entries].map(([key, value]) => [map, key, value] as const),
    ),
  };
}

/**
 * Adds the chains of the pods that policies select. Pods for which the same is true share a chain; the addresses of
 * peers are in sets, so that a pod that comes or goes somewhere is one element here. A chain returns what it allows, for
 * the other end's policies to judge, and drops the rest.
 */
function addPolicies(
  ruleset: Draft,
  input: { nodeName: string; policies: readonly SharedPolicy[]; pods: readonly LocalPod[] },
): void {
  const elements = (name: string): Map<string, string> => {
    let held = ruleset.elements.get(name);
    if (!held) {
      held = new Map();
      ruleset.elements.set(name, held);
    }
    return held;
  };
  elements('policy-ingress');
  elements('policy-egress');
  elements('policy-self');
  const policies = [...input.policies]
    .sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))
    .map((policy) => ({ policy, selects: matcher(policy.podSelector) }));
  const used = new Set<string>();
  for (const { ip, pod } of input.pods) {
    const mine = policies.filter(
      ({ policy, selects }) => policy.namespace === pod.metadata.namespace && selects(pod.metadata.labels),
    );
    for (const direction of ['ingress', 'egress'] as const) {
      const binding = mine.filter(({ policy }) => policy[direction] !== undefined);
      if (binding.length === 0) continue;
      const rules = binding.flatMap(({ policy }) =>
        (policy[direction] ?? []).flatMap((rule, index) => {
          const { lines, sets } = rulesOf(policy, rule, direction, index, pod);
          for (const set of sets) used.add(set);
          return lines;
        }),
      );
      const hash = createHash('sha256').update(rules.join('\n')).digest('hex').slice(0, 16);
      const chain = `policy-${direction}-${hash}`;
      ruleset.chains.set(chain, [...rules, 'drop']);
      elements(`policy-${direction}`).set(ip, `jump ${chain}`);
      elements('policy-self').set(`${ip} . ${ip}`, '');
    }
  }
  // Only what a chain refers to: a policy may select no pod of this board.
  for (const { policy } of policies) {
    for (const direction of ['ingress', 'egress'] as const) {
      (policy[direction] ?? []).forEach((rule, index) => {
        fillSets(ruleset, used, elements, policy, rule, direction, index, input);
      });
    }
  }
}

function rulesOf(
  policy: SharedPolicy,
  rule: SharedPolicyRule,
  direction: Direction,
  index: number,
  pod: Pod,
): { lines: string[]; sets: string[] } {
  const side = direction === 'ingress' ? 'saddr' : 'daddr';
  const sets: string[] = [];
  const from: string[] = [];
  if (!rule.peers) from.push('');
  else {
    const byNameOnly = direction === 'egress' && rule.ports?.every(({ port }) => typeof port === 'string');
    if (podPeers(rule).length > 0 && !byNameOnly) {
      const set = setName(policy, direction, index);
      sets.push(set);
      from.push(`ip ${side} @${set} `);
    }
    for (const peer of rule.peers) {
      if ('cidr' in peer && isCidr(peer.cidr)) {
        const except = (peer.except ?? []).filter(isCidr).map((cidr) => `ip ${side} != ${cidr} `);
        from.push(`ip ${side} ${peer.cidr} ${except.join('')}`);
      }
    }
  }
  const lines: string[] = [];
  for (const { protocol, port, endPort } of rule.ports ?? [ANY_PORT]) {
    const transport = protocol.toLowerCase();
    if (typeof port === 'string' && direction === 'egress') {
      const set = setName(policy, direction, index, `${port}/${transport}`);
      sets.push(set);
      lines.push(`ip daddr . ${transport} dport @${set} return`);
      continue;
    }
    const numbers =
      typeof port === 'string'
        ? portsNamed(pod, port, protocol).map(String)
        : [port === undefined ? '' : endPort === undefined ? String(port) : `${port}-${endPort}`];
    for (const number of numbers) {
      const to =
        number !== ''
          ? `${transport} dport ${number} `
          : transport === ''
            ? ''
            : `meta l4proto ${transport} `;
      for (const match of from) lines.push(`${match}${to}return`);
    }
  }
  return { lines, sets };
}

/** A rule without ports: every protocol. */
const ANY_PORT: { protocol: string; port?: number | string; endPort?: number } = { protocol: '' };

function fillSets(
  ruleset: Draft,
  used: ReadonlySet<string>,
  elements: (name: string) => Map<string, string>,
  policy: SharedPolicy,
  rule: SharedPolicyRule,
  direction: Direction,
  index: number,
  input: { nodeName: string; pods: readonly LocalPod[] },
): void {
  const peers = podPeers(rule);
  const plain = setName(policy, direction, index);
  if (used.has(plain)) {
    ruleset.sets.set(plain, 'type ipv4_addr;');
    const held = elements(plain);
    for (const peer of peers) for (const { ip } of addressesOf(peer, input)) held.set(ip, '');
  }
  if (direction === 'ingress') return;
  for (const { port, protocol } of rule.ports ?? []) {
    if (typeof port !== 'string') continue;
    const set = setName(policy, direction, index, `${port}/${protocol.toLowerCase()}`);
    if (!used.has(set)) continue;
    ruleset.sets.set(set, 'type ipv4_addr . inet_service;');
    const held = elements(set);
    for (const peer of peers) {
      for (const { ip, ports } of addressesOf(peer, input)) {
        for (const candidate of ports)
          if (candidate.name === port && candidate.protocol === protocol)
            held.set(`${ip} . ${candidate.port}`, '');
      }
    }
  }
}

type NamedPort = { name: string; protocol: string; port: number };

/** The peer's pods: of other boards as the server says, of this one as they are. */
function addressesOf(
  peer: PodPeer,
  input: { nodeName: string; pods: readonly LocalPod[] },
): { ip: string; ports: readonly NamedPort[] }[] {
  const namespaces = new Set(peer.namespaces);
  const selects = matcher(peer.podSelector);
  const here = input.pods.filter(
    ({ pod }) => namespaces.has(pod.metadata.namespace ?? '') && selects(pod.metadata.labels),
  );
  return [
    ...peer.pods
      .filter(({ ip, node }) => node !== input.nodeName && isIPv4(ip))
      .map(({ ip, ports }) => ({ ip, ports: ports ?? [] })),
    ...here.map(({ ip, pod }) => ({ ip, ports: namedPortsOf(pod) })),
  ];
}

const podPeers = (rule: SharedPolicyRule): PodPeer[] =>
  (rule.peers ?? []).filter((peer): peer is PodPeer => 'namespaces' in peer);

function portsNamed(pod: Pod, name: string, protocol: string): number[] {
  const found = namedPortsOf(pod).filter((port) => port.name === name && port.protocol === protocol);
  return [...new Set(found.map(({ port }) => port))];
}

function namedPortsOf({ spec }: Pod): NamedPort[] {
  const sidecars = (spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  return [...(spec?.containers ?? []), ...sidecars].flatMap(({ ports }) =>
    (ports ?? []).flatMap(({ name, protocol = 'TCP', containerPort }) =>
      name ? [{ name, protocol, port: containerPort }] : [],
    ),
  );
}

const nameOf = ({ namespace, name }: SharedPolicy): string => `${namespace}/${name}`;

function setName(policy: SharedPolicy, direction: Direction, index: number, port = ''): string {
  const hash = createHash('sha256')
    .update(`${nameOf(policy)} ${port}`)
    .digest('hex')
    .slice(0, 12);
  return `peers-${hash}-${direction}-${index}`;
}

/** Other families have no way to these pods. */
function isCidr(text: string): boolean {
  const [address = '', bits = ''] = text.split('/');
  return isIPv4(address) && /^\d{1,2}$/.test(bits) && Number(bits) <= 32;
}

function matcher(selector: LabelSelector): LabelMatcher {
  try {
    return selectorMatcher(selector);
  } catch {
    return matchNothing;
  }
}
