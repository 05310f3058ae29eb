import { podReferences } from '../../api/pod-references.ts';
import type { Pod, PodSpec } from '../../api/types/core-v1.ts';
import { NODES_GROUP, nodeNameOf } from '../../wire/join.ts';
import type { UserInfo } from '../registry/port.ts';
import type { Store } from '../store/port.ts';
import type { Attributes, Authorizer, Decision } from './authorization.ts';

const READ = new Set(['get', 'list', 'watch']);
/** What every node may read in full: needed for networking, names nothing confidential. */
const OPEN = new Set([
  '/services',
  '/nodes',
  'discovery.k8s.io/endpointslices',
  'node.k8s.io/runtimeclasses',
]);
const REFUSED: Decision = { allowed: false, reason: '' };

/** The node that a user is, or undefined. Needs the group as well: a name alone may be anybody's. */
export function nodeOfUser(user: UserInfo): string | undefined {
  return user.groups.includes(NODES_GROUP) ? nodeNameOf(user.name) : undefined;
}

/**
 * A node reads what its own pods need, and asks for tokens of their service accounts. All else reaches an agent over MQTT,
 * so this is narrower than Kubernetes' Node authorizer: all that agents write through the API are the copies of their
 * static pods.
 */
export class NodeAuthorizer implements Authorizer {
  private readonly store: Pick<Store, 'list' | 'get'>;

  constructor(store: Pick<Store, 'list' | 'get'>) {
    this.store = store;
  }

  authorize(attributes: Attributes): Decision {
    const node = nodeOfUser(attributes.user);
    if (node === undefined || attributes.path !== undefined) return REFUSED;
    const { group, resource, subresource, verb, namespace, name } = attributes;
    const type = `${group}/${resource}${subresource === '' ? '' : `/${subresource}`}`;
    if (OPEN.has(type) && READ.has(verb)) return allowed(node);
    switch (type) {
      case '/pods':
        // Copies of static pods, of which NodeRestriction sees to the rest.
        if (verb === 'create') return allowed(node);
        if (verb === 'delete') return this.isOwnPod(node, attributes) ? allowed(node) : unrelated(node);
        return this.mayReadPods(node, attributes) ? allowed(node) : unrelated(node);
      case '/secrets':
        return this.related(node, attributes, (spec) => podReferences(spec).secrets.has(name));
      case '/configmaps':
        return this.related(node, attributes, (spec) => podReferences(spec).configMaps.has(name));
      case '/persistentvolumeclaims':
        return this.related(node, attributes, (spec, pod) => claimsOf(spec, pod).has(name));
      case '/serviceaccounts':
        return this.related(node, attributes, (spec) => spec.serviceAccountName === name);
      case '/serviceaccounts/token':
        if (verb !== 'create') return REFUSED;
        return this.anyPod(node, namespace, (spec) => spec.serviceAccountName === name)
          ? allowed(node)
          : unrelated(node);
      default:
        return REFUSED;
    }
  }

  private isOwnPod(node: string, { namespace, name }: Attributes): boolean {
    const pod = this.store.get('pods', `${namespace}/${name}`)?.object as Pod | undefined;
    return pod?.spec?.nodeName === node;
  }

  private mayReadPods(node: string, attributes: Attributes): boolean {
    const { verb, fieldSelector } = attributes;
    if (verb === 'get') return this.isOwnPod(node, attributes);
    if (verb !== 'list' && verb !== 'watch') return false;
    return (fieldSelector ?? '').split(',').includes(`spec.nodeName=${node}`);
  }

  private related(
    node: string,
    { verb, namespace, name }: Attributes,
    refersTo: (spec: PodSpec, pod: Pod) => boolean,
  ): Decision {
    if (!READ.has(verb)) return REFUSED;
    if (name === '') {
      return { allowed: false, reason: `node '${node}' can only read this by name, for its own pods` };
    }
    return this.anyPod(node, namespace, refersTo) ? allowed(node) : unrelated(node);
  }

  private anyPod(node: string, namespace: string, test: (spec: PodSpec, pod: Pod) => boolean): boolean {
    return this.store.list('pods', `${namespace}/`).some(({ object }) => {
      const pod = object as Pod;
      return pod.spec?.nodeName === node && test(pod.spec, pod);
    });
  }
}

const allowed = (node: string): Decision => ({ allowed: true, reason: `node '${node}'` });
const unrelated = (node: string): Decision => ({
  allowed: false,
  reason: `no relationship found between node '${node}' and this object`,
});

function claimsOf(spec: PodSpec, pod: Pod): Set<string> {
  const names = new Set<string>();
  for (const volume of spec.volumes ?? []) {
    if (volume.persistentVolumeClaim) names.add(volume.persistentVolumeClaim.claimName);
    // A generic ephemeral volume's claim is called <pod>-<volume>.
    if (volume.ephemeral) names.add(`${pod.metadata.name}-${volume.name}`);
  }
  return names;
}
