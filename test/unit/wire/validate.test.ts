import { describe, expect, it } from 'vitest';
import { encodeMessage, parseMessage } from '../../../src/wire/validate.ts';

const heartbeat = {
  v: 1,
  n: 7,
  m: { cpu: 0.2, load: 1, memTotal: 1, memAvailable: 1, diskTotal: 1, diskAvailable: 1 },
};

describe('messages', () => {
  it('takes what is right, with fields that only a newer sender knows', () => {
    const parsed = parseMessage('Heartbeat', JSON.stringify({ ...heartbeat, later: { x: 1 } }));
    expect(parsed).toMatchObject({ ok: true, message: { n: 7 } });
  });

  it.each([
    ['not JSON', 'Heartbeat', '{', 'NotJson'],
    ['an empty text', 'Heartbeat', '', 'NotJson'],
    ['null', 'Heartbeat', 'null', 'UnknownVersion'],
    ['a list', 'Heartbeat', '[1]', 'UnknownVersion'],
    ['a later version', 'Heartbeat', JSON.stringify({ ...heartbeat, v: 2 }), 'UnknownVersion'],
    ['a missing field', 'Heartbeat', JSON.stringify({ v: 1, n: 1 }), 'BadShape'],
    ['a text for a number', 'Heartbeat', JSON.stringify({ ...heartbeat, n: '7' }), 'BadShape'],
    ['a fraction for an integer', 'Heartbeat', JSON.stringify({ ...heartbeat, n: 7.5 }), 'BadShape'],
    [
      'a measurement below zero',
      'Heartbeat',
      JSON.stringify({ ...heartbeat, m: { ...heartbeat.m, cpu: -1 } }),
      'BadShape',
    ],
    ['too much', 'StatusAck', JSON.stringify({ v: 1, uid: 'x'.repeat(3000), sequence: 1 }), 'TooLarge'],
    [
      'an unknown kind of stream',
      'StreamRequest',
      JSON.stringify({ v: 1, id: '1', path: '/', timeoutMs: 1, request: { type: 'constructor' } }),
      'BadShape',
    ],
    [
      'a Secret that says it is a Pod',
      'DesiredConfig',
      JSON.stringify({ v: 1, object: { kind: 'Pod', metadata: { name: 'x' } } }),
      'BadShape',
    ],
    [
      'an unknown phase',
      'PodStatusReport',
      JSON.stringify({
        v: 1,
        namespace: 'a',
        name: 'b',
        uid: 'c',
        sequence: 1,
        status: { phase: 'Dancing' },
      }),
      'BadShape',
    ],
  ] as const)('refuses %s', (_what, kind, payload, problem) => {
    expect(parseMessage(kind, payload)).toMatchObject({ ok: false, problem });
  });

  it('says where a shape is wrong', () => {
    const payload = JSON.stringify({
      v: 1,
      namespace: 'd',
      name: 's',
      type: 'ClusterIP',
      clusterIPs: ['10.0.0.1'],
      ports: [
        { name: '', protocol: 'TCP', port: 80, endpoints: [{ ip: '10.1.1.1', port: 'http', node: 'a' }] },
      ],
    });
    expect(parseMessage('SharedService', payload)).toMatchObject({
      ok: false,
      detail: 'SharedService: ports[0].endpoints[0].port: expected a number',
    });
  });

  it('does not encode what nobody would take', () => {
    const data = { big: 'x'.repeat(1_700_000) };
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a', namespace: 'b' }, data };
    expect(encodeMessage('DesiredConfig', { v: 1, object })).toBeUndefined();
    object.data.big = 'x'.repeat(1_048_576);
    const payload = encodeMessage('DesiredConfig', { v: 1, object });
    expect(parseMessage('DesiredConfig', payload ?? '')).toMatchObject({ ok: true });
  });
});
