import { forbidden, notFound, type StatusError } from '../../api/errors.ts';
import type { JsonObject } from '../../api/object.ts';
import { jsonEqual } from '../../api/patch-json.ts';
import { podReferences } from '../../api/pod-references.ts';
import type { Pod, PodSpec } from '../../api/types/core-v1.ts';
import { listAt, objectAt, stringAt } from '../../api/validation.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../admission/port.ts';
import { subjectName } from '../admission/refusal.ts';
import type { Store } from '../store/port.ts';
import { nodeOfUser } from './node-authorizer.ts';
import { CERTIFICATES_ANNOTATION } from './node-certificates.ts';

const MIRROR = 'kubernetes.io/config.mirror';
const LEASES_NAMESPACE = 'kube-node-lease';
/** Labels that a kubelet says of its own node; all else under kubernetes.io and k8s.io is the administrator's. */
const OWN_LABELS = new Set([
  'kubernetes.io/hostname',
  'kubernetes.io/arch',
  'kubernetes.io/os',
  'beta.kubernetes.io/arch',
  'beta.kubernetes.io/os',
  'beta.kubernetes.io/instance-type',
  'node.kubernetes.io/instance-type',
  'failure-domain.beta.kubernetes.io/region',
  'failure-domain.beta.kubernetes.io/zone',
  'topology.kubernetes.io/region',
  'topology.kubernetes.io/zone',
]);
const OWN_LABEL_DOMAINS = ['kubelet.kubernetes.io', 'node.kubernetes.io'];
const RESTRICTED_DOMAIN = 'node-restriction.kubernetes.io';

type Check = (node: string, request: AdmissionRequest) => StatusError | undefined;

/**
 * What the authoriser cannot see because it is in the body. Agents write over MQTT, where the Bus checks them, and only
 * ask for tokens here; but whoever binds more to the group system:nodes must not thereby let a node speak for others.
 */
export class NodeRestriction implements AdmissionPlugin {
  readonly name = 'NodeRestriction';
  private readonly store: Pick<Store, 'get'>;
  private readonly checks: Readonly<Record<string, Check>>;

  constructor(store: Pick<Store, 'get'>) {
    this.store = store;
    this.checks = {
      pods: (node, request) => this.checkPod(node, request),
      nodes: checkNode,
      persistentvolumeclaims: checkClaim,
      serviceaccounts: (node, request) => this.checkToken(node, request),
      'leases.coordination.k8s.io': checkLease,
      'csinodes.storage.k8s.io': checkCsiNode,
    };
  }

  validate(request: AdmissionRequest): void {
    if (!['CREATE', 'UPDATE', 'DELETE'].includes(request.operation)) return;
    const node = nodeOfUser(request.context.user);
    if (node === undefined) return;
    const check = Object.hasOwn(this.checks, request.bucket) ? this.checks[request.bucket] : undefined;
    const refusal = check?.(node, request);
    if (refusal) throw refusal;
  }

  private pod({ target }: AdmissionRequest, name: string): Pod {
    const pod = this.store.get('pods', `${target.namespace}/${name}`)?.object as Pod | undefined;
    if (!pod) throw notFound({ group: '', resource: 'pods' }, name);
    return pod;
  }

  private checkPod(node: string, request: AdmissionRequest): StatusError | undefined {
    const { target, operation, old } = request;
    const quoted = JSON.stringify(node);
    switch (target.subresource) {
      case undefined:
        if (operation === 'CREATE') return this.checkMirrorPod(node, request);
        if (operation !== 'DELETE') {
          return no(
            request,
            `unexpected operation "${operation}", node ${quoted} can only create and delete mirror pods`,
          );
        }
        return nodeNameOf(old) === node
          ? undefined
          : no(request, `node ${quoted} can only delete pods with spec.nodeName set to itself`);
      case 'status':
        if (nodeNameOf(old) !== node) {
          return no(
            request,
            `node ${quoted} can only update pod status for pods with spec.nodeName set to itself`,
          );
        }
        return sameLabels(request)
          ? undefined
          : no(request, `node ${quoted} cannot update labels through pod status`);
      case 'eviction':
        return this.pod(request, target.name ?? '').spec?.nodeName === node
          ? undefined
          : no(request, `node ${node} can only evict pods with spec.nodeName set to itself`);
      default:
        return no(
          request,
          `unexpected pod subresource ${JSON.stringify(target.subresource)}, only 'status' and 'eviction' are allowed`,
        );
    }
  }

  private checkMirrorPod(node: string, request: AdmissionRequest): StatusError | undefined {
    const { object } = request;
    const metadata = objectAt(object, 'metadata');
    const spec = objectAt(object, 'spec') as unknown as PodSpec;
    const quoted = JSON.stringify(node);
    const can = (what: string): StatusError =>
      no(request, `node ${quoted} can only create pods with ${what}`);
    const cannot = (what: string): StatusError =>
      no(request, `node ${quoted} can not create pods that reference ${what}`);
    if (objectAt(metadata, 'annotations')[MIRROR] === undefined) {
      return no(
        request,
        `pod does not have "${MIRROR}" annotation, node ${quoted} can only create mirror pods`,
      );
    }
    if (spec.nodeName !== node) return can('spec.nodeName set to itself');
    const owners = listAt(metadata, 'ownerReferences');
    const [owner] = owners;
    if (owners.length > 1) return can('a single owner reference set to itself');
    if (owner?.apiVersion !== 'v1' || owner.kind !== 'Node' || owner.name !== node) {
      return can('an owner reference set to itself');
    }
    if (owner.controller !== true) return can('a controller owner reference set to itself');
    if (owner.blockOwnerDeletion === true) {
      return no(request, `node ${quoted} must not set blockOwnerDeletion on an owner reference`);
    }
    const stored = this.store.get('nodes', node)?.object;
    if (!stored) throw notFound({ group: '', resource: 'nodes' }, node);
    if (owner.uid !== stored.metadata.uid) {
      return no(request, `node ${node} UID mismatch: expected ${owner.uid} got ${stored.metadata.uid}`);
    }
    if (spec.serviceAccountName) return cannot('a service account');
    if (podReferences(spec).secrets.size > 0) return cannot('secrets');
    if (podReferences(spec).configMaps.size > 0) return cannot('configmaps');
    const volumes = spec.volumes ?? [];
    if (volumes.some(({ projected }) => projected?.sources?.some((source) => source.clusterTrustBundle))) {
      return cannot('clustertrustbundles');
    }
    return volumes.some((volume) => volume.persistentVolumeClaim)
      ? cannot('persistentvolumeclaims')
      : undefined;
  }

  private checkToken(node: string, request: AdmissionRequest): StatusError | undefined {
    if (request.operation !== 'CREATE' || request.target.subresource !== 'token') return undefined;
    const bound = objectAt(objectAt(request.object, 'spec'), 'boundObjectRef');
    const name = stringAt(bound, 'name');
    if (bound.apiVersion !== 'v1' || bound.kind !== 'Pod' || name === '') {
      return no(request, 'node requested token not bound to a pod');
    }
    const uid = stringAt(bound, 'uid');
    if (uid === '') return no(request, 'node requested token with a pod binding without a uid');
    const pod = this.pod(request, name);
    if (uid !== pod.metadata.uid) {
      return no(
        request,
        `the UID in the bound object reference (${uid}) does not match the UID in record. The object might have been deleted and then recreated`,
      );
    }
    return pod.spec?.nodeName === node
      ? undefined
      : no(request, 'node requested token bound to a pod scheduled on a different node');
  }
}

function no(request: AdmissionRequest, why: string): StatusError {
  return forbidden(request.target.info, subjectName(request), why);
}

const nodeNameOf = (pod: JsonObject | undefined): string => stringAt(objectAt(pod, 'spec'), 'nodeName');
const labelsOf = (object: JsonObject | undefined): JsonObject =>
  objectAt(objectAt(object, 'metadata'), 'labels');
const sameLabels = ({ object, old }: AdmissionRequest): boolean => jsonEqual(labelsOf(object), labelsOf(old));

function checkNode(node: string, request: AdmissionRequest): StatusError | undefined {
  const { operation, target, object, old } = request;
  const quoted = JSON.stringify(node);
  const name = target.name ?? stringAt(objectAt(object, 'metadata'), 'name');
  if (name !== node) {
    return no(request, `node ${quoted} is not allowed to modify node ${JSON.stringify(name)}`);
  }
  if (operation === 'DELETE') return undefined;
  if (operation === 'UPDATE') {
    const taints = (one: JsonObject | undefined): JsonObject[] => listAt(objectAt(one, 'spec'), 'taints');
    if (!jsonEqual(taints(object), taints(old))) {
      return no(request, `node ${quoted} is not allowed to modify taints`);
    }
  }
  const certificates = (one: JsonObject | undefined): unknown =>
    objectAt(objectAt(one, 'metadata'), 'annotations')[CERTIFICATES_ANNOTATION];
  if (certificates(object) !== certificates(old)) {
    return no(request, `node ${quoted} is not allowed to modify the annotation ${CERTIFICATES_ANNOTATION}`);
  }
  const foreign = foreignLabels(labelsOf(object), labelsOf(old));
  if (foreign.length === 0) return undefined;
  return no(
    request,
    operation === 'CREATE'
      ? `node ${quoted} is not allowed to set the following labels: ${foreign.join(', ')}`
      : `is not allowed to modify labels: ${foreign.join(', ')}`,
  );
}

/** Labels that differ and are not a node's own to set. */
function foreignLabels(labels: JsonObject, before: JsonObject): string[] {
  return [...new Set([...Object.keys(labels), ...Object.keys(before)])]
    .filter((key) => labels[key] !== before[key])
    .filter((key) => {
      const slash = key.indexOf('/');
      const domain = slash < 0 ? '' : key.slice(0, slash);
      const below = (parent: string): boolean => domain === parent || domain.endsWith(`.${parent}`);
      if (below(RESTRICTED_DOMAIN)) return true;
      return (
        (below('kubernetes.io') || below('k8s.io')) && !OWN_LABELS.has(key) && !OWN_LABEL_DOMAINS.some(below)
      );
    })
    .sort();
}

function checkClaim(node: string, request: AdmissionRequest): StatusError | undefined {
  const { target, operation, object, old } = request;
  if (target.subresource !== 'status') return no(request, 'may only update PVC status');
  if (operation !== 'UPDATE') return no(request, `unexpected operation "${operation}"`);
  const rest = (claim: JsonObject | undefined): JsonObject => {
    const { resourceVersion: _version, managedFields: _fields, ...metadata } = objectAt(claim, 'metadata');
    const status = { ...objectAt(claim, 'status') };
    for (const field of ['capacity', 'conditions', 'allocatedResources', 'allocatedResourceStatuses']) {
      delete status[field];
    }
    return { metadata, spec: objectAt(claim, 'spec'), status };
  };
  return jsonEqual(rest(object), rest(old))
    ? undefined
    : no(
        request,
        `node ${JSON.stringify(node)} is not allowed to update fields other than status.capacity and status.conditions`,
      );
}

function checkLease(node: string, request: AdmissionRequest): StatusError | undefined {
  if (request.target.namespace !== LEASES_NAMESPACE) {
    return no(request, `can only access leases in the "${LEASES_NAMESPACE}" system namespace`);
  }
  return subjectName(request) === node
    ? undefined
    : no(request, 'can only access node lease with the same name as the requesting node');
}

function checkCsiNode(node: string, request: AdmissionRequest): StatusError | undefined {
  return subjectName(request) === node
    ? undefined
    : no(request, 'can only access CSINode with the same name as the requesting node');
}
