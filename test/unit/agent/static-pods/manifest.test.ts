import { describe, expect, it } from 'vitest';
import { isStaticUid, mirrorOf, staticPod } from '../../../../src/agent/static-pods/manifest.ts';
import { planMirrors } from '../../../../src/agent/static-pods/mirrors.ts';
import type { Pod } from '../../../../src/api/types/core-v1.ts';

const context = { nodeName: 'Pi', file: '/m/web.yaml', seen: '2026-01-01T00:00:00Z' };
const container = { name: 'web', image: 'nginx' };
const manifest = (spec: object = {}, metadata: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', ...metadata },
  spec: { containers: [container], ...spec },
});

describe('a static pod', () => {
  it('is named after its node and its uid is a hash of what it says', () => {
    const pod = staticPod(manifest({}, { labels: { a: 'b' } }), context);
    expect(pod.metadata).toMatchObject({
      name: 'web-pi',
      namespace: 'default',
      labels: { a: 'b' },
      annotations: {
        'kubernetes.io/config.hash': pod.metadata.uid,
        'kubernetes.io/config.seen': context.seen,
        'kubernetes.io/config.source': 'file',
      },
    });
    expect(isStaticUid(pod.metadata.uid ?? '')).toBe(true);
    expect(isStaticUid('0f0e9a52-7c9b-4f0f-8a73-0c1f6f6f6f6f')).toBe(false);
    const uid = (...[made, where]: Parameters<typeof staticPod>) => staticPod(made, where).metadata.uid;
    const reordered = Object.fromEntries(Object.entries(manifest({}, { labels: { a: 'b' } })).reverse());
    expect(uid(reordered, { ...context, seen: 'later' })).toBe(pod.metadata.uid);
    expect(uid(manifest({ hostNetwork: true }), context)).not.toBe(uid(manifest(), context));
    expect(uid(manifest(), { ...context, nodeName: 'other' })).not.toBe(uid(manifest(), context));
    expect(uid(manifest(), { ...context, file: '/m/b.yaml' })).not.toBe(uid(manifest(), context));
  });

  it('has the defaults that the API server would give it, and stays whatever its node is tainted with', () => {
    const { spec } = staticPod(
      manifest({
        hostNetwork: true,
        containers: [
          { ...container, ports: [{ containerPort: 80 }], resources: { limits: { cpu: '1' } } },
          { name: 'two', image: 'a@sha256:0' },
          { name: 'three', image: 'r:5000/a:1' },
        ],
      }),
      context,
    );
    expect(spec).toMatchObject({
      nodeName: 'Pi',
      restartPolicy: 'Always',
      dnsPolicy: 'ClusterFirst',
      terminationGracePeriodSeconds: 30,
      tolerations: [{ operator: 'Exists', effect: 'NoExecute' }],
    });
    expect(spec?.containers.map(({ imagePullPolicy }) => imagePullPolicy)).toEqual([
      'Always',
      'IfNotPresent',
      'IfNotPresent',
    ]);
    expect(spec?.containers[0]).toMatchObject({
      ports: [{ containerPort: 80, hostPort: 80, protocol: 'TCP' }],
      resources: { limits: { cpu: '1' }, requests: { cpu: '1' } },
    });
  });

  it.each<[string, unknown]>([
    ['the manifest is not an object', 'text'],
    ['no v1 Pod but apps/v1 Deployment', { ...manifest(), apiVersion: 'apps/v1', kind: 'Deployment' }],
    ['metadata is not an object', { apiVersion: 'v1', kind: 'Pod' }],
    ['metadata.name: ', manifest({}, { name: 'No_Name' })],
    ['metadata.labels[a]: not a string', manifest({}, { labels: { a: 1 } })],
    ['spec.containers: Required value', manifest({ containers: [] })],
    ['spec.containers[0].name: ', manifest({ containers: [{ image: 'x' }] })],
    ['spec.containers[0].image: Required value', manifest({ containers: [{ name: 'x' }] })],
    ['spec.containers[1].name: Duplicate value: "web"', manifest({ containers: [container, container] })],
    ['spec.containers[0].env: not a list', manifest({ containers: [{ ...container, env: {} }] })],
    ['may not reference serviceaccounts', manifest({ serviceAccountName: 'x' })],
    ['may not reference secrets', manifest({ volumes: [{ name: 'v', secret: { secretName: 's' } }] })],
    [
      'may not reference configmaps',
      manifest({ containers: [{ ...container, envFrom: [{ configMapRef: { name: 'c' } }] }] }),
    ],
    [
      'may not reference persistentvolumeclaims',
      manifest({ volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'c' } }] }),
    ],
    [
      'may not reference serviceaccounts',
      manifest({
        volumes: [{ name: 'v', projected: { sources: [{ serviceAccountToken: { path: 't' } }] } }],
      }),
    ],
    ['ephemeral containers', manifest({ ephemeralContainers: [container] })],
  ])('is refused: %s', (message, document) => {
    expect(() => staticPod(document, context)).toThrow(message);
  });
});

describe('copies at the server', () => {
  const pod = staticPod(manifest(), context);
  const copy = (of: Pod, metadata: object = {}): Pod => {
    const made = mirrorOf(of, 'node-uid');
    return { ...made, metadata: { ...made.metadata, uid: 'mirror-uid', ...metadata } };
  };
  const steps = (statics: Pod[], mirrors: Pod[], running: string[] = []) =>
    planMirrors(statics, mirrors, (uid) => running.includes(uid)).map((step) =>
      step.kind === 'create' ? `create ${step.pod.metadata.name}` : `delete ${step.name} ${step.uid}`,
    );

  it('belong to the node and say what they are copies of', () => {
    expect(mirrorOf(pod, 'node-uid').metadata).toMatchObject({
      name: 'web-pi',
      annotations: { 'kubernetes.io/config.mirror': pod.metadata.uid },
      ownerReferences: [{ kind: 'Node', name: 'Pi', uid: 'node-uid', controller: true }],
    });
  });

  it('are made, and left alone while they are right', () => {
    expect(steps([pod], [])).toEqual(['create web-pi']);
    expect(steps([pod], [copy(pod)])).toEqual([]);
  });

  it('that somebody deletes go at once and are made again when they are gone', () => {
    expect(steps([pod], [copy(pod, { deletionTimestamp: '2026-01-01T00:00:00Z' })])).toEqual([
      'delete web-pi mirror-uid',
    ]);
  });

  it('of a manifest that has changed or gone stand until what they show has ended', () => {
    const next = staticPod(manifest({ hostNetwork: true }), context);
    const uid = pod.metadata.uid ?? '';
    expect(steps([next], [copy(pod)], [uid])).toEqual([]);
    expect(steps([next], [copy(pod)])).toEqual(['delete web-pi mirror-uid']);
    expect(steps([], [copy(pod)], [uid])).toEqual([]);
    expect(steps([], [copy(pod)])).toEqual(['delete web-pi mirror-uid']);
  });
});
