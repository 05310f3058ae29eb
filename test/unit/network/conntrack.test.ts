import { describe, expect, it } from 'vitest';
import { staleFlows, UdpFlows } from '../../../src/agent/network/conntrack.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import type { SharedService } from '../../../src/wire/messages.ts';
import { FakeNetCommands, failing, notInstalled } from '../../support/network/fake-commands.ts';

const service = (ips: string[], protocol: 'UDP' | 'TCP' = 'UDP'): SharedService => ({
  v: 1,
  namespace: 'default',
  name: 'dns',
  type: 'NodePort',
  clusterIPs: ['10.43.0.20'],
  ports: [
    {
      name: '',
      protocol,
      port: 53,
      nodePort: 30053,
      endpoints: ips.map((ip) => ({ ip, port: 5353, node: 'one' })),
    },
  ],
});
const lines = (before: SharedService[], after: SharedService[]): string[] =>
  staleFlows(before, after).map(({ file, args }) => [file, ...args].join(' '));
const toCluster = 'conntrack -D -p udp --orig-dst 10.43.0.20 --orig-port-dst 53';
const toNode = 'conntrack -D -p udp --orig-port-dst 30053';

describe('staleFlows', () => {
  it('are those to endpoints that are gone, by each way in', () => {
    expect(lines([service(['10.42.0.2', '10.42.0.3'])], [service(['10.42.0.3', '10.42.0.4'])])).toEqual([
      `${toCluster} --dst-nat 10.42.0.2`,
      `${toNode} --dst-nat 10.42.0.2`,
    ]);
    expect(lines([service(['10.42.0.2'])], [])).toHaveLength(2);
  });

  it('are those that went nowhere, once there is an endpoint', () => {
    expect(lines([service([])], [service(['10.42.0.2'])])).toEqual([toCluster, toNode]);
  });

  it('are none of TCP, and none when nothing went away', () => {
    expect(lines([service(['10.42.0.2'], 'TCP')], [])).toEqual([]);
    expect(lines([service(['10.42.0.2'])], [service(['10.42.0.2', '10.42.0.3'])])).toEqual([]);
  });
});

describe('UdpFlows', () => {
  it('goes on when there was nothing to delete', async () => {
    const commands = new FakeNetCommands().on('conntrack', failing('conntrack', '0 flow entries'));
    const flows = new UdpFlows({ commands, logger: silentLogger });
    await flows.applied([{ next: service(['10.42.0.2']) }]);
    expect(commands.take()).toEqual([]);
    await flows.applied([{ previous: service(['10.42.0.2']), next: service(['10.42.0.3']) }]);
    expect(commands.take()).toHaveLength(2);
  });

  it('says once that the program is missing, and asks no more', async () => {
    const warnings: string[] = [];
    const logger = { ...silentLogger, warn: (_fields: object, text: string) => warnings.push(text) };
    const commands = new FakeNetCommands().on('conntrack', notInstalled('conntrack'));
    const flows = new UdpFlows({ commands, logger });
    for (const ip of ['10.42.0.2', '10.42.0.3', '10.42.0.4'])
      await flows.applied([{ previous: service([ip]), next: service([]) }]);
    expect(commands.take()).toHaveLength(1);
    expect(warnings).toHaveLength(1);
  });
});
