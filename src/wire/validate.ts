import type {
  Alive,
  ClusterInfo,
  DesiredConfig,
  DesiredDigest,
  DesiredPod,
  EventReport,
  Heartbeat,
  ImageReport,
  MeasureRequest,
  NodeRegistration,
  PodStatusReport,
  PodUsageReport,
  SharedDigest,
  SharedIngress,
  SharedIngressSet,
  SharedNode,
  SharedPolicy,
  SharedService,
  StatusAck,
  StreamRequest,
  VolumeReport,
} from './messages.ts';
import { WIRE_VERSION } from './messages.ts';
import {
  anything,
  array,
  boolean,
  constant,
  integer,
  map,
  mismatch,
  number,
  object,
  oneOf,
  type Shape,
  tagged,
  text,
} from './shape.ts';

export interface Messages {
  DesiredPod: DesiredPod;
  DesiredConfig: DesiredConfig;
  DesiredDigest: DesiredDigest;
  StatusAck: StatusAck;
  StreamRequest: StreamRequest;
  Alive: Alive;
  NodeRegistration: NodeRegistration;
  Heartbeat: Heartbeat;
  PodStatusReport: PodStatusReport;
  MeasureRequest: MeasureRequest;
  PodUsageReport: PodUsageReport;
  VolumeReport: VolumeReport;
  ImageReport: ImageReport;
  EventReport: EventReport;
  ClusterInfo: ClusterInfo;
  SharedService: SharedService;
  SharedNode: SharedNode;
  SharedPolicy: SharedPolicy;
  SharedIngress: SharedIngress;
  SharedIngressSet: SharedIngressSet;
  SharedDigest: SharedDigest;
}

export type MessageKind = keyof Messages;

export type Parsed<T> = { ok: true; message: T } | { ok: false; problem: MessageProblem; detail: string };
export type MessageProblem = 'TooLarge' | 'NotJson' | 'UnknownVersion' | 'BadShape';

const KIB = 1024;
/** etcd refuses requests above 1.5 MiB, so no Kubernetes object is larger; the envelope needs a little more. */
const OBJECT_BYTES = 1600 * KIB;

/** The largest packet that the broker takes from anyone: one object and its topic. */
export const MAX_PACKET_BYTES = OBJECT_BYTES + 4 * KIB;

const name = text(253);
const metadata = object({ name, 'namespace?': name, 'uid?': text(128), 'resourceVersion?': text(64) });
const ip = text(64);
const port = integer(0);

const measurements = object({
  cpu: number(0),
  load: number(0),
  memTotal: number(0),
  memAvailable: number(0),
  diskTotal: number(0),
  diskAvailable: number(0),
  'temperature?': number(),
  'throttled?': boolean,
  'pods?': map(array(number(0), 2), 1000),
});

const streamed = { podUid: text(128), container: name };
const channels = { stdin: boolean, stdout: boolean, stderr: boolean, tty: boolean };

const policyRules = array(
  object({
    'peers?': array(
      object({
        'cidr?': text(64),
        'except?': array(text(64), 1000),
        'namespaces?': array(text(63), 10_000),
        'pods?': array(object({ ip, node: name }), 10_000),
      }),
      1000,
    ),
    'ports?': array(object({ protocol: oneOf('TCP', 'UDP', 'SCTP'), 'endPort?': port }), 1000),
  }),
  1000,
);

const ingressBackend = object({ 'service?': name });

/** Every message: its fields (besides `v`) and the most bytes that its JSON may have. */
const MESSAGES: Readonly<Record<MessageKind, { readonly maxBytes: number; readonly shape: Shape }>> = {
  DesiredPod: {
    maxBytes: OBJECT_BYTES,
    shape: object({
      pod: object({ metadata, spec: object({ containers: array(anything, 1000) }) }),
      'objection?': object({ reason: text(253), message: text(KIB) }),
    }),
  },
  DesiredConfig: {
    maxBytes: OBJECT_BYTES,
    shape: object({
      object: tagged('kind', {
        ConfigMap: object({
          metadata,
          'data?': map(text(OBJECT_BYTES)),
          'binaryData?': map(text(OBJECT_BYTES)),
        }),
        Secret: object({ metadata, 'data?': map(text(OBJECT_BYTES)), 'type?': text(253) }),
        PersistentVolume: object({
          metadata,
          spec: object({ 'claimRef?': object({ namespace: name, name, 'uid?': text(128) }) }),
        }),
      }),
    }),
  },
  DesiredDigest: {
    maxBytes: OBJECT_BYTES,
    shape: object({ pods: map(text(64)), configs: map(text(64)), 'server?': text(64) }),
  },
  StatusAck: { maxBytes: KIB, shape: object({ uid: text(128), sequence: integer(0) }) },
  StreamRequest: {
    maxBytes: 128 * KIB,
    shape: object({
      id: text(128),
      path: text(2048),
      timeoutMs: number(0),
      request: tagged('type', {
        logs: object({
          ...streamed,
          follow: boolean,
          previous: boolean,
          timestamps: boolean,
          'tailLines?': integer(0),
          'sinceSeconds?': number(0),
          'sinceTime?': text(64),
          'limitBytes?': integer(0),
        }),
        exec: object({ ...streamed, command: array(text(128 * KIB), 4096), ...channels }),
        attach: object({ ...streamed, ...channels }),
        portforward: object({ podUid: text(128), port, 'direct?': boolean }),
        node: object({ 'dial?': object({ address: text(64), port }) }),
      }),
    }),
  },
  Alive: { maxBytes: KIB, shape: object({ alive: boolean, boot: text(64) }) },
  NodeRegistration: {
    maxBytes: 64 * KIB,
    shape: object({
      labels: map(text(63), 500),
      taints: array(
        object({
          key: text(317),
          'value?': text(63),
          effect: oneOf('NoSchedule', 'PreferNoSchedule', 'NoExecute'),
        }),
        100,
      ),
      addresses: array(object({ type: text(64), address: name }), 64),
      capacity: map(text(64), 200),
      allocatable: map(text(64), 200),
      nodeInfo: object({
        architecture: text(64),
        bootID: text(128),
        containerRuntimeVersion: text(128),
        kernelVersion: text(256),
        kubeProxyVersion: text(128),
        kubeletVersion: text(128),
        machineID: text(128),
        operatingSystem: text(64),
        osImage: text(256),
        systemUUID: text(128),
      }),
    }),
  },
  Heartbeat: {
    maxBytes: 16 * KIB,
    shape: object({ n: integer(0), m: measurements, 'c?': map(text(1024), 16) }),
  },
  MeasureRequest: { maxBytes: KIB, shape: object({ forMs: integer(0) }) },
  VolumeReport: { maxBytes: 4 * KIB, shape: object({ name, uid: text(128), 'error?': text(2048) }) },
  ImageReport: {
    maxBytes: 256 * KIB,
    shape: object({
      images: array(object({ names: array(text(1024), 16), sizeBytes: integer(0) }), 200),
      architecture: text(64),
      lacking: array(text(1024), 200),
    }),
  },
  PodUsageReport: {
    maxBytes: 256 * KIB,
    shape: object({ windowMs: integer(1), pods: map(map(array(number(0), 2), 1000), 1000) }),
  },
  PodStatusReport: {
    maxBytes: 256 * KIB,
    shape: object({
      namespace: text(63),
      name,
      uid: text(128),
      sequence: integer(0),
      status: object({
        'phase?': oneOf('Pending', 'Running', 'Succeeded', 'Failed', 'Unknown'),
        'conditions?': array(object({ type: text(316), status: oneOf('True', 'False', 'Unknown') }), 100),
        'containerStatuses?': array(object({ name }), 1000),
        'initContainerStatuses?': array(object({ name }), 1000),
        'ephemeralContainerStatuses?': array(object({ name }), 1000),
        'podIP?': ip,
        'podIPs?': array(object({ ip }), 8),
      }),
      'gone?': boolean,
    }),
  },
  EventReport: {
    maxBytes: 16 * KIB,
    shape: object({
      namespace: text(63),
      name,
      uid: text(128),
      'fieldPath?': text(512),
      kind: oneOf('Pod', 'Node'),
      type: oneOf('Normal', 'Warning'),
      reason: text(128),
      message: text(8 * KIB),
      time: text(40),
      'component?': text(128),
    }),
  },
  ClusterInfo: {
    maxBytes: 64 * KIB,
    shape: object({
      serviceCidr: text(128),
      clusterCidr: text(128),
      clusterDns: text(128),
      clusterDomain: name,
      'stubDomains?': map(array(text(128), 16), 100),
      'upstreamNameservers?': array(text(128), 16),
      'disabled?': array(text(64), 32),
    }),
  },
  SharedService: {
    maxBytes: OBJECT_BYTES,
    shape: object({
      namespace: text(63),
      name: text(63),
      type: text(64),
      clusterIPs: array(ip, 8),
      'headless?': constant(true),
      'externalName?': name,
      'hosts?': array(object({ ip, 'hostname?': text(63) }), 10_000),
      'externalIPs?': array(ip, 256),
      'balancerIPs?': array(ip, 1000),
      'sourceRanges?': array(text(64), 1000),
      'healthCheckNodePort?': port,
      'sessionAffinitySeconds?': integer(0),
      'externalTrafficPolicy?': oneOf('Cluster', 'Local'),
      'internalTrafficPolicy?': oneOf('Cluster', 'Local'),
      ports: array(
        object({
          name: text(63),
          protocol: oneOf('TCP', 'UDP', 'SCTP'),
          port,
          'nodePort?': port,
          endpoints: array(
            object({
              ip,
              port,
              node: name,
              'hostname?': text(63),
              'leaving?': constant(true),
              'zones?': array(text(63), 64),
              'nodes?': array(name, 64),
            }),
            10_000,
          ),
        }),
        1000,
      ),
    }),
  },
  SharedNode: {
    maxBytes: 4 * KIB,
    shape: object({ name, internalIP: ip, podCIDR: text(64), 'zone?': text(63), 'leaving?': constant(true) }),
  },
  SharedPolicy: {
    maxBytes: OBJECT_BYTES,
    shape: object({
      namespace: text(63),
      name,
      podSelector: anything,
      'ingress?': policyRules,
      'egress?': policyRules,
    }),
  },
  SharedIngress: {
    maxBytes: OBJECT_BYTES,
    shape: object({
      namespace: text(63),
      name,
      created: text(64),
      'defaultBackend?': ingressBackend,
      rules: array(
        object({
          'host?': name,
          paths: array(
            object({ path: text(8 * KIB), type: oneOf('Exact', 'Prefix'), backend: ingressBackend }),
          ),
        }),
      ),
      tls: array(object({ hosts: array(name), 'secret?': name })),
      'sslRedirect?': constant(true),
      'backendTls?': constant(true),
      'timeoutSeconds?': integer(0),
    }),
  },
  SharedIngressSet: {
    maxBytes: OBJECT_BYTES,
    shape: object({ ingresses: array(text(317), 20_000), nodes: array(name, 10_000) }),
  },
  SharedDigest: {
    maxBytes: OBJECT_BYTES,
    shape: object({
      services: array(text(317), 20_000),
      nodes: array(name, 10_000),
      'policies?': array(text(317), 20_000),
    }),
  },
};

/** The message in `payload`, or why it is none. Never throws: a receiver logs the problem and goes on. */
export function parseMessage<K extends MessageKind>(kind: K, payload: string): Parsed<Messages[K]> {
  const { maxBytes, shape } = MESSAGES[kind];
  // UTF-8 has at most three bytes per UTF-16 unit: the exact count is needed only near the limit.
  if (payload.length * 3 > maxBytes && Buffer.byteLength(payload) > maxBytes) {
    return { ok: false, problem: 'TooLarge', detail: `${kind}: more than ${maxBytes} bytes` };
  }
  let value: unknown;
  try {
    value = JSON.parse(payload);
  } catch {
    return { ok: false, problem: 'NotJson', detail: `${kind}: not JSON` };
  }
  const version = (value as { v?: unknown } | null)?.v;
  if (version !== WIRE_VERSION) {
    return {
      ok: false,
      problem: 'UnknownVersion',
      detail: `${kind}: version ${JSON.stringify(version)?.slice(0, 40)}`,
    };
  }
  const found = mismatch(shape, value);
  if (found) return { ok: false, problem: 'BadShape', detail: `${kind}: ${found}` };
  return { ok: true, message: value as Messages[K] };
}

/** The JSON of a message, or undefined when it is larger than a receiver would take. */
export function encodeMessage<K extends MessageKind>(kind: K, message: Messages[K]): string | undefined {
  const payload = JSON.stringify(message);
  const { maxBytes } = MESSAGES[kind];
  return payload.length * 3 > maxBytes && Buffer.byteLength(payload) > maxBytes ? undefined : payload;
}
