import { describe, expect, it } from 'vitest';
import { chooseEndpoints } from '../../../src/agent/network/endpoint-choice.ts';
import type { SharedEndpoint } from '../../../src/wire/messages.ts';

const endpoint = (last: number, fields: Partial<SharedEndpoint> = {}): SharedEndpoint => ({
  ip: `10.42.0.${last}`,
  port: 80,
  node: 'one',
  ...fields,
});
const chosen = (endpoints: SharedEndpoint[], nodeName = 'one', zone?: string) => {
  const { cluster, local, any } = chooseEndpoints(endpoints, { nodeName, ...(zone ? { zone } : {}) });
  const last = ({ ip }: SharedEndpoint): number => Number(ip.split('.').at(-1));
  return { cluster: cluster.map(last), local: local.map(last), any };
};
const leaving = true as const;

describe('the endpoints that a board uses', () => {
  it('are the ready ones, here for the policy Local', () => {
    const all = [endpoint(3), endpoint(2, { node: 'two' }), endpoint(4, { leaving })];
    expect(chosen(all)).toEqual({ cluster: [2, 3], local: [3], any: true });
    expect(chosen(all, 'two')).toEqual({ cluster: [2, 3], local: [2], any: true });
    expect(chosen(all, 'three')).toEqual({ cluster: [2, 3], local: [], any: true });
    expect(chosen([])).toEqual({ cluster: [], local: [], any: false });
  });

  it('are terminating ones where no ready one is, for each policy by itself', () => {
    const all = [
      endpoint(2, { node: 'two' }),
      endpoint(3, { leaving }),
      endpoint(4, { leaving, node: 'two' }),
    ];
    expect(chosen(all)).toEqual({ cluster: [2], local: [3], any: true });
    expect(chosen(all.slice(1))).toEqual({ cluster: [3, 4], local: [3], any: true });
  });

  it('are IPv4, each once, ready when any slice says so', () => {
    const all = [endpoint(2), endpoint(2, { leaving }), endpoint(2, { ip: 'fd00::2' })];
    expect(chosen(all)).toEqual({ cluster: [2], local: [2], any: true });
    expect(chosen([...all].reverse())).toEqual({ cluster: [2], local: [2], any: true });
  });

  it('are those meant for this zone, if there are any and all have hints', () => {
    const all = [endpoint(2, { zones: ['a'] }), endpoint(3, { zones: ['b', 'c'] })];
    expect(chosen(all, 'one', 'a').cluster).toEqual([2]);
    expect(chosen(all, 'one', 'c').cluster).toEqual([3]);
    expect(chosen(all, 'one', 'd').cluster).toEqual([2, 3]);
    expect(chosen(all, 'one').cluster).toEqual([2, 3]);
    expect(chosen([...all, endpoint(4)], 'one', 'a').cluster).toEqual([2, 3, 4]);
    // Only the ready ones are asked.
    expect(chosen([...all, endpoint(4, { leaving })], 'one', 'a').cluster).toEqual([2]);
    // The policy Local does not look at hints.
    expect(chosen(all, 'one', 'a').local).toEqual([2, 3]);
  });

  it('are those meant for this node before those of the zone', () => {
    const all = [
      endpoint(2, { zones: ['a'], nodes: ['one'] }),
      endpoint(3, { zones: ['a'], nodes: ['two'], node: 'two' }),
      endpoint(4, { zones: ['b'], nodes: ['three'], node: 'three' }),
    ];
    expect(chosen(all, 'two', 'a').cluster).toEqual([3]);
    expect(chosen(all, 'four', 'a').cluster).toEqual([2, 3]);
    expect(chosen(all, 'four', 'c').cluster).toEqual([2, 3, 4]);
  });
});
