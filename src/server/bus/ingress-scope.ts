import { ingressLabels, ingressNodes, isOurIngress, tlsSecrets } from '../../api/ingress.ts';
import { INGRESS_CLASSES, INGRESSES, NODES } from '../../api/kinds.ts';
import type { Node } from '../../api/types/core-v1.ts';
import type { Ingress, IngressClass } from '../../api/types/networking-v1.ts';
import type { Informer, InformerSet } from '../../client/informer.ts';
import { sameJson } from '../../lib/equal.ts';
import { type ConfigKey, configKey } from './referenced-configs.ts';

/** Which Ingresses boards serve, which nodes do so, and what these need for it. */
export class IngressScope {
  private readonly enabled: boolean;
  private readonly ingresses: Informer<Ingress>;
  private readonly classes: Informer<IngressClass>;
  private readonly nodes: Informer<Node>;

  /** Not enabled (`--disable=ingress`): no Ingress is ours. */
  constructor(options: { informers: InformerSet; enabled: boolean }) {
    this.enabled = options.enabled;
    this.ingresses = options.informers.of(INGRESSES);
    this.classes = options.informers.of(INGRESS_CLASSES);
    this.nodes = options.informers.of(NODES);
  }

  get synced(): Promise<unknown> {
    return Promise.all([this.ingresses.synced, this.classes.synced, this.nodes.synced]);
  }

  /** `onIngress` for one that says something else now, `onAll` when classes or nodes may have changed everything. */
  watch(onIngress: (ingress: Ingress) => void, onAll: () => void): (() => void)[] {
    return [
      this.ingresses.handle({
        onAdd: onIngress,
        onUpdate: (ingress, old) => {
          if (said(ingress) !== said(old) || !sameJson(ingress.spec, old.spec)) onIngress(ingress);
        },
        onDelete: onIngress,
      }),
      this.classes.handle({ onAdd: onAll, onUpdate: onAll, onDelete: onAll }),
      this.nodes.handle({
        onAdd: onAll,
        onUpdate: (node, old) => {
          if (ingressLabels(node) !== ingressLabels(old)) onAll();
        },
        onDelete: onAll,
      }),
    ];
  }

  /** Undefined when it is not there or not ours. */
  ingress(key: string): Ingress | undefined {
    const ingress = this.ingresses.byKey(key);
    return ingress && this.isOurs(ingress) ? ingress : undefined;
  }

  ours(): Ingress[] {
    return this.ingresses.list().filter((ingress) => this.isOurs(ingress));
  }

  servingNodes(): string[] {
    return ingressNodes(this.nodes.list()).map(({ metadata }) => metadata.name ?? '');
  }

  /** The Secrets with certificates that the node needs; none where it does not serve. */
  secretsOf(node: string): ConfigKey[] {
    const ours = this.ours();
    return ours.length > 0 && this.servingNodes().includes(node) ? ours.flatMap(secretKeys) : [];
  }

  needs(secret: ConfigKey): boolean {
    return this.ours().some((ingress) => secretKeys(ingress).includes(secret));
  }

  private isOurs(ingress: Ingress): boolean {
    return this.enabled && isOurIngress(ingress, this.classes.list());
  }
}

function secretKeys(ingress: Ingress): ConfigKey[] {
  return tlsSecrets(ingress).map((name) => configKey('secrets', ingress.metadata.namespace ?? '', name));
}

function said({ metadata }: Ingress): string {
  return JSON.stringify([metadata.uid, metadata.annotations]);
}
