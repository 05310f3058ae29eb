import { expect, test } from 'vitest';
import { loadSchemaFacts } from '../../src/api/facts.ts';
import { decodeProtobuf } from '../../src/server/http/protobuf-body.ts';

// Bodies as kubectl 1.32 sends them: `kubectl create service nodeport np --tcp=80:http` and
// `kubectl create deployment w --image=nginx --replicas=2 --port=80`.
const SERVICE = `
  6b387300 0a0d0a02 76311207 53657276 69636512 680a1d0a 026e7012 001a0022 002a0032 00380042 005a090a
  03617070 12026e70 12430a1e 0a073830 2d687474 70120354 43501850 220a0801 10001a04 68747470 28001209
  0a036170 7012026e 701a0022 084e6f64 65506f72 743a0042 0052005a 00600068 001a020a 001a0022 00`;
const DEPLOYMENT = `
  6b387300 0a150a07 61707073 2f763112 0a446570 6c6f796d 656e7412 b0010a1b 0a017712 001a0022 002a0032
  00380042 005a080a 03617070 12017712 82010802 120a0a08 0a036170 70120177 1a6a0a1a 0a001200 1a002200
  2a003200 38004200 5a080a03 61707012 0177124c 122e0a05 6e67696e 7812056e 67696e78 2a00320a 0a001000
  18502200 2a004200 6a007200 80010088 01009001 00a20100 1a003200 42004a00 52005800 60006800 8201008a
  01009a01 00c20100 22020a00 28003800 1a0c0800 10001800 20002800 38001a00 2200`;

const bytes = (hex: string): Buffer => Buffer.from(hex.replace(/\s/g, ''), 'hex');

async function decode(body: Buffer) {
  const { schemas } = await loadSchemaFacts();
  return decodeProtobuf(body, schemas as never);
}

test('a Service of kubectl: maps, repeated messages, IntOrString, zero time', async () => {
  const { value, unknown } = await decode(bytes(SERVICE));
  expect(unknown).toEqual([]);
  expect(value).toMatchObject({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'np', labels: { app: 'np' }, creationTimestamp: null },
    spec: {
      type: 'NodePort',
      selector: { app: 'np' },
      ports: [{ name: '80-http', protocol: 'TCP', port: 80, targetPort: 'http', nodePort: 0 }],
    },
  });
});

test('a Deployment of kubectl: nested messages', async () => {
  const { value } = await decode(bytes(DEPLOYMENT));
  expect(value).toMatchObject({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: 'w' } },
      template: {
        metadata: { labels: { app: 'w' } },
        spec: { containers: [{ name: 'nginx', image: 'nginx', ports: [{ containerPort: 80 }] }] },
      },
    },
  });
});

test('what is cut off, no protobuf or of an unknown kind is a 400', async () => {
  const whole = bytes(DEPLOYMENT);
  for (const bad of [
    Buffer.alloc(0),
    Buffer.from('{"kind":"Pod"}'),
    whole.subarray(0, 60),
    bytes('6b387300 0a0a0a02 76311204 4e6f7065'),
  ]) {
    await expect(decode(bad)).rejects.toMatchObject({ code: 400 });
  }
});

test('a field newer than the table is named, not dropped in silence', async () => {
  // ConfigMap {metadata {name: abc}}, and a field 99.
  const { value, unknown } = await decode(
    bytes('6b387300 0a0f 0a027631 1209436f6e6669674d6170 120a 0a050a03616263 980601'),
  );
  expect(unknown).toEqual(['ConfigMap#99']);
  expect(value).toEqual({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'abc' } });
});
