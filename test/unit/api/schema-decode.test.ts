import { describe, expect, test } from 'vitest';
import { loadSchemaFacts } from '../../../src/api/facts.ts';
import { cloneJson } from '../../../src/api/object.ts';
import { Schemas } from '../../../src/api/schema.ts';
import { DecodeError, decodeObject, firstBadBase64 } from '../../../src/api/schema-decode.ts';

describe('decoding', async () => {
  const schemas = new Schemas(await loadSchemaFacts());
  const pod = schemas.struct('io.k8s.api.core.v1.Pod');
  const configMap = schemas.struct('io.k8s.api.core.v1.ConfigMap');
  const secret = schemas.struct('io.k8s.api.core.v1.Secret');
  const container = { name: 'c', image: 'i' };

  test('unknown and duplicate fields are named in the order of the document, and dropped', () => {
    const body = { metadata: { name: 's', nope: 1 }, data: { a: '2' }, extra: true };
    const { object, strict } = decodeObject(configMap, body, ['data.a']);
    expect(strict).toEqual([
      'unknown field "metadata.nope"',
      'duplicate field "data.a"',
      'unknown field "extra"',
    ]);
    expect(object).toEqual({ metadata: { name: 's' }, data: { a: '2' } });
    const { strict: deep } = decodeObject(pod, {
      spec: { containers: [{ ...container, imagePullpolicy: 'x' }] },
    });
    expect(deep).toEqual(['unknown field "spec.containers[0].imagePullpolicy"']);
  });

  test('zero values are written as Kubernetes writes them', () => {
    const { object } = decodeObject(pod, {
      spec: {
        containers: [{ ...container, stdin: false, args: [], ports: [{ containerPort: 80 }] }],
        hostNetwork: false,
        nodeName: '',
        automountServiceAccountToken: false,
        terminationGracePeriodSeconds: 0,
        nodeSelector: {},
        volumes: [{ name: 'v', emptyDir: {} }],
        affinity: null,
      },
    });
    expect(object.spec).toEqual({
      containers: [{ ...container, resources: {}, ports: [{ containerPort: 80, protocol: 'TCP' }] }],
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 0,
      volumes: [{ name: 'v', emptyDir: {} }],
    });
  });

  test('null in a map of quantities is zero', () => {
    const { object } = decodeObject(pod, {
      spec: { containers: [{ ...container, resources: { limits: { cpu: null } } }] },
    });
    expect(object).toMatchObject({ spec: { containers: [{ resources: { limits: { cpu: '0' } } }] } });
  });

  test('quantities and times are brought into their one form', () => {
    const { object } = decodeObject(pod, {
      metadata: { creationTimestamp: '2020-01-01T02:00:00.123+02:00' },
      spec: { containers: [{ ...container, resources: { limits: { cpu: 0.5, memory: '1024Mi' } } }] },
    });
    expect(object).toMatchObject({
      metadata: { creationTimestamp: '2020-01-01T00:00:00Z' },
      spec: { containers: [{ resources: { limits: { cpu: '500m', memory: '1Gi' } } }] },
    });
  });

  test.each<[object, string]>([
    [
      { spec: { containers: 'x' } },
      'json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container',
    ],
    [
      { spec: { containers: [{ name: 1 }] } },
      'json: cannot unmarshal number into Go struct field Container.spec.containers.name of type string',
    ],
    [
      { spec: { terminationGracePeriodSeconds: 'x' } },
      'json: cannot unmarshal string into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type int64',
    ],
    [
      { spec: { priority: 2 ** 40 } },
      'json: cannot unmarshal number 1099511627776 into Go struct field PodSpec.spec.priority of type int32',
    ],
    [
      { metadata: { labels: { a: 1 } } },
      'json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string',
    ],
  ])('a wrong type: %j', (body, message) => {
    expect(() => decodeObject(pod, body)).toThrow(new DecodeError(message));
  });

  test('base64 is checked', () => {
    expect(() => decodeObject(secret, { data: { a: '***' } })).toThrow('illegal base64 data at input byte 0');
    expect(firstBadBase64('Zm9v')).toBe(-1);
    expect(firstBadBase64('Zm8=')).toBe(-1);
    expect(firstBadBase64('Zm8')).toBeGreaterThanOrEqual(0);
  });

  test('__proto__ is data, not a prototype', () => {
    const { object } = decodeObject(configMap, JSON.parse('{"data":{"__proto__":"x"}}'));
    const copy = cloneJson(object);
    for (const { data } of [object, copy]) {
      expect(Object.keys(data as object)).toEqual(['__proto__']);
      expect(Object.getPrototypeOf(data)).toBe(Object.prototype);
    }
    expect(JSON.stringify(copy)).toBe('{"data":{"__proto__":"x"}}');
    const { strict } = decodeObject(configMap, JSON.parse('{"__proto__":{"x":1}}'));
    expect(strict).toEqual(['unknown field "__proto__"']);
  });

  test('free-form values may not nest without end', () => {
    let deep: object = {};
    for (let level = 0; level < 5000; level += 1) deep = { deep };
    const revision = schemas.struct('io.k8s.api.apps.v1.ControllerRevision');
    expect(() => decodeObject(revision, { data: deep })).toThrow('exceeded max depth');
  });
});
