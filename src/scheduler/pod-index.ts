import type { PodInfo } from './pod-info.ts';
import type { NamespaceLabels, PodPredicate, PodTerm } from './pod-terms.ts';
import type { NodeInfo } from './snapshot.ts';

/** Predicates whose counts are kept; the least recently asked for goes. */
const MOST_COUNTS = 1024;

export type TermKind =
  | 'required affinity'
  | 'required anti-affinity'
  | 'preferred affinity'
  | 'preferred anti-affinity';

/**
 * How many placed pods match, by node and by domain, kept up to date pod by pod: a decision asks for what was counted
 * before, whatever the number of pods. Counted when first asked for.
 */
export class PodIndex {
  readonly namespaceLabels: NamespaceLabels;
  private readonly nodes: () => Iterable<NodeInfo>;
  private readonly counts = new Map<string, PodCounts>();
  private readonly inNamespace = new Map<string, Set<PodCounts>>();
  private readonly anywhere = new Set<PodCounts>();
  private readonly held: Readonly<Record<TermKind, Map<string, HeldTerm>>> = {
    'required affinity': new Map(),
    'required anti-affinity': new Map(),
    'preferred affinity': new Map(),
    'preferred anti-affinity': new Map(),
  };

  constructor(options: { namespaceLabels: NamespaceLabels; nodes: () => Iterable<NodeInfo> }) {
    this.namespaceLabels = options.namespaceLabels;
    this.nodes = options.nodes;
  }

  of(pods: PodPredicate): PodCounts {
    const known = this.counts.get(pods.key);
    if (known) {
      this.counts.delete(pods.key);
      this.counts.set(pods.key, known);
      return known;
    }
    const fresh = new PodCounts(pods, this.nodes);
    for (const node of this.nodes()) {
      let matching = 0;
      for (const info of node.pods.values()) if (pods.matches(info, this.namespaceLabels)) matching += 1;
      if (matching > 0) fresh.change(node, matching);
    }
    this.counts.set(pods.key, fresh);
    this.bucketOf(pods).add(fresh);
    if (this.counts.size > MOST_COUNTS) {
      const [oldest] = this.counts.values();
      if (oldest) this.forget(oldest);
    }
    return fresh;
  }

  /** The terms of this kind that placed pods hold and that mean `info`. */
  heldAgainst(kind: TermKind, info: PodInfo): HeldTerm[] {
    const { namespace } = info.pod.metadata;
    const meant: HeldTerm[] = [];
    for (const held of this.held[kind].values()) {
      const { pods } = held.term;
      if (pods.namespace !== undefined && pods.namespace !== namespace) continue;
      if (pods.matches(info, this.namespaceLabels)) meant.push(held);
    }
    return meant;
  }

  entered(node: NodeInfo, info: PodInfo): void {
    this.change(node, info, 1);
  }

  left(node: NodeInfo, info: PodInfo): void {
    this.change(node, info, -1);
  }

  /** Labels or taints of a node, or the set of nodes, changed: domains are made anew when next asked for. */
  nodesChanged(): void {
    for (const counts of this.counts.values()) counts.views.clear();
    for (const terms of Object.values(this.held)) for (const held of terms.values()) held.domains = undefined;
  }

  /** Labels of a namespace changed: what was counted by them may be wrong. */
  namespacesChanged(): void {
    for (const counts of [...this.anywhere]) this.forget(counts);
  }

  private bucketOf({ namespace }: PodPredicate): Set<PodCounts> {
    if (namespace === undefined) return this.anywhere;
    let bucket = this.inNamespace.get(namespace);
    if (!bucket) {
      bucket = new Set();
      this.inNamespace.set(namespace, bucket);
    }
    return bucket;
  }

  private forget(counts: PodCounts): void {
    const { key, namespace } = counts.pods;
    this.counts.delete(key);
    this.anywhere.delete(counts);
    if (namespace === undefined) return;
    const bucket = this.inNamespace.get(namespace);
    bucket?.delete(counts);
    if (bucket?.size === 0) this.inNamespace.delete(namespace);
  }

  private change(node: NodeInfo, info: PodInfo, sign: 1 | -1): void {
    const { namespaceLabels } = this;
    for (const counts of this.inNamespace.get(info.pod.metadata.namespace ?? '') ?? []) {
      if (counts.pods.matches(info, namespaceLabels)) counts.change(node, sign);
    }
    for (const counts of this.anywhere) {
      if (counts.pods.matches(info, namespaceLabels)) counts.change(node, sign);
    }
    if (!info.hasTerms) return;
    const { affinity, antiAffinity } = info;
    for (const term of affinity.required) this.hold('required affinity', term, node, sign);
    for (const term of antiAffinity.required) this.hold('required anti-affinity', term, node, sign);
    for (const term of affinity.preferred) this.hold('preferred affinity', term, node, sign);
    for (const term of antiAffinity.preferred) this.hold('preferred anti-affinity', term, node, sign);
  }

  private hold(kind: TermKind, term: PodTerm, node: NodeInfo, sign: 1 | -1): void {
    const terms = this.held[kind];
    const key = `${term.topologyKey} ${term.weight} ${term.pods.key}`;
    let held = terms.get(key);
    if (!held) {
      held = new HeldTerm(term);
      terms.set(key, held);
    }
    held.change(node, sign);
    if (held.byNode.size === 0) terms.delete(key);
  }
}

/** Pods around a node, by the value of one label; domains without any are not held. */
export class Neighbours {
  private readonly topologyKey: string;
  private readonly counts = new Map<string, number>();

  constructor(topologyKey: string, byNode: ReadonlyMap<NodeInfo, number>) {
    this.topologyKey = topologyKey;
    for (const [node, count] of byNode) this.change(node, count);
  }

  get none(): boolean {
    return this.counts.size === 0;
  }

  /** Undefined when the node lacks the label. */
  around(node: NodeInfo): number | undefined {
    const value = node.labels[this.topologyKey];
    return value === undefined ? undefined : (this.counts.get(value) ?? 0);
  }

  change(node: NodeInfo, by: number): void {
    const value = node.labels[this.topologyKey];
    if (value !== undefined) add(this.counts, value, by);
  }
}

/** A term, and where the pods are that hold it. */
export class HeldTerm {
  readonly term: PodTerm;
  readonly byNode = new Map<NodeInfo, number>();
  domains: Neighbours | undefined;

  constructor(term: PodTerm) {
    this.term = term;
  }

  change(node: NodeInfo, by: number): void {
    add(this.byNode, node, by);
    this.domains?.change(node, by);
  }

  /** Pods that hold the term, in the domain of this node. */
  around(node: NodeInfo): number {
    this.domains ??= new Neighbours(this.term.topologyKey, this.byNode);
    return this.domains.around(node) ?? 0;
  }
}

/** The pods that match one predicate. */
export class PodCounts {
  readonly pods: PodPredicate;
  readonly byNode = new Map<NodeInfo, number>();
  /** By what is grouped and which nodes count. */
  readonly views = new Map<string, Domains | Neighbours>();
  private readonly nodes: () => Iterable<NodeInfo>;

  constructor(pods: PodPredicate, nodes: () => Iterable<NodeInfo>) {
    this.pods = pods;
    this.nodes = nodes;
  }

  change(node: NodeInfo, by: number): void {
    add(this.byNode, node, by);
    for (const view of this.views.values()) view.change(node, by);
  }

  on(node: NodeInfo): number {
    return this.byNode.get(node) ?? 0;
  }

  neighbours(topologyKey: string): Neighbours {
    const known = this.views.get(topologyKey);
    if (known instanceof Neighbours) return known;
    const view = new Neighbours(topologyKey, this.byNode);
    this.views.set(topologyKey, view);
    return view;
  }

  /**
   * Counts by the values of a label, over the nodes that are `eligible`; domains without a matching pod count with 0.
   * Equal `key`s must mean equal eligibility.
   */
  domains(topologyKey: string, key: string, eligible: (node: NodeInfo) => boolean): Domains {
    const name = `${topologyKey} ${key}`;
    const known = this.views.get(name);
    if (known instanceof Domains) return known;
    const view = new Domains(topologyKey, eligible);
    for (const node of this.nodes()) view.enter(node, this.on(node));
    this.views.set(name, view);
    return view;
  }
}

/** Counts by domain, with the lowest of them at hand. */
export class Domains {
  private readonly topologyKey: string;
  private readonly eligible: (node: NodeInfo) => boolean;
  private readonly counts = new Map<string, number>();
  /** How many domains have this count. */
  private readonly having: number[] = [];
  private lowest = 0;
  constructor(topologyKey: string, eligible: (node: NodeInfo) => boolean) {
    this.topologyKey = topologyKey;
    this.eligible = eligible;
  }

  get size(): number {
    return this.counts.size;
  }

  /** The smallest count of a domain; 0 when there is no domain. */
  get least(): number {
    if (this.counts.size === 0) return 0;
    while ((this.having[this.lowest] ?? 0) === 0) this.lowest += 1;
    return this.lowest;
  }

  of(value: string): number {
    return this.counts.get(value) ?? 0;
  }

  enter(node: NodeInfo, count: number): void {
    const value = node.labels[this.topologyKey];
    if (value === undefined || node.node === undefined || !this.eligible(node)) return;
    const before = this.counts.get(value);
    if (before !== undefined) this.having[before] = (this.having[before] ?? 0) - 1;
    this.set(value, (before ?? 0) + count);
  }

  change(node: NodeInfo, by: number): void {
    const value = node.labels[this.topologyKey];
    const before = value === undefined ? undefined : this.counts.get(value);
    if (value === undefined || before === undefined || node.node === undefined || !this.eligible(node))
      return;
    this.having[before] = (this.having[before] ?? 0) - 1;
    this.set(value, before + by);
  }

  private set(value: string, count: number): void {
    this.counts.set(value, count);
    this.having[count] = (this.having[count] ?? 0) + 1;
    if (count < this.lowest) this.lowest = count;
  }
}

function add<K>(map: Map<K, number>, key: K, by: number): void {
  const count = (map.get(key) ?? 0) + by;
  if (count === 0) map.delete(key);
  else map.set(key, count);
}
