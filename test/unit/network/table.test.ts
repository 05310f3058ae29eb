import { beforeEach, describe, expect, it } from 'vitest';
import { NetTable } from '../../../src/agent/network/table.ts';
import type { Logger } from '../../../src/lib/logger.ts';
import type { SharedService } from '../../../src/wire/messages.ts';
import { FakeNetCommands, failing, notInstalled } from '../../support/network/fake-commands.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const service = (name: string, ip: string): SharedService => ({
  v: 1,
  namespace: 'default',
  name,
  type: 'ClusterIP',
  clusterIPs: [ip],
  ports: [{ name: '', protocol: 'TCP', port: 80, endpoints: [{ ip: '10.42.0.5', port: 80, node: 'one' }] }],
});

let clock: VirtualClock;
let commands: FakeNetCommands;
let errors: string[];
let table: NetTable;
const scripts = (): string[] => commands.take().filter((line) => line.startsWith('nft -f -'));
const isWhole = (script: string | undefined): boolean => script?.includes('delete table ip copepod') ?? false;

beforeEach(() => {
  clock = new VirtualClock();
  commands = new FakeNetCommands().on('nft', '');
  errors = [];
  const logger: Logger = {
    debug: () => {},
    info: () => {},
    warn: () => {},
    error: (fields) => errors.push((fields as { error: string }).error),
    child: () => logger,
  };
  table = new NetTable({ commands, clock, logger, nodeName: 'one' });
});

describe('NetTable', () => {
  it('writes many changes as one transaction within 100 ms', async () => {
    table.setFacts({ clusterCidr: '10.42.0.0/16', serviceCidr: '10.43.0.0/16' });
    for (let index = 1; index < 50; index += 1) table.setServices([service('web', `10.43.0.${index}`)]);
    expect(scripts()).toEqual([]);
    await clock.advance(100);
    const written = scripts();
    expect(written).toHaveLength(1);
    expect(isWhole(written[0])).toBe(true);
    expect(written[0]).toContain('10.43.0.49 . tcp . 80');
  });

  it('writes the table once and then only what changed, and nothing when nothing did', async () => {
    table.setServices([service('a', '10.43.0.1')]);
    await table.flush();
    table.setServices([service('a', '10.43.0.1'), service('b', '10.43.0.2')]);
    await table.flush();
    await table.flush();
    const [whole, change, ...rest] = scripts();
    expect(isWhole(whole)).toBe(true);
    expect(isWhole(change)).toBe(false);
    expect(change).toContain('10.43.0.2');
    expect(change).not.toContain('10.43.0.1 ');
    expect(rest).toEqual([]);
  });

  it('replaces the table when the kernel does not hold what was thought', async () => {
    table.setServices([]);
    await table.flush();
    commands.take();
    let calls = 0;
    commands.on('nft -f', () => {
      calls += 1;
      if (calls === 1) throw failing('nft', 'No such file or directory');
      return '';
    });
    table.setServices([service('a', '10.43.0.1')]);
    await table.flush();
    expect(scripts().map(isWhole)).toEqual([false, true]);
  });

  it('tries again, more and more rarely, until it works, and says the cause once', async () => {
    commands.on('nft', notInstalled('nft'));
    table.setServices([service('a', '10.43.0.1')]);
    await clock.advance(8_000);
    // At 50 ms, then 1, 2 and 4 s after each failure.
    expect(scripts()).toHaveLength(4);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain('apt-get install nftables');
    commands.on('nft', '');
    await clock.advance(60_000);
    expect(scripts()).toHaveLength(1);
  });

  it('is unhealthy, as kube-proxy, when the kernel has lacked something for a minute', async () => {
    table.setServices([service('a', '10.43.0.1')]);
    await clock.advance(100);
    expect([table.healthy, table.lastUpdated]).toEqual([true, clock.now() - 50]);
    commands.on('nft', failing('nft', 'Operation not permitted'));
    table.setServices([service('b', '10.43.0.2')]);
    await clock.advance(59_000);
    expect(table.healthy).toBe(true);
    await clock.advance(2_000);
    expect(table.healthy).toBe(false);
    commands.on('nft', '');
    await clock.advance(60_000);
    expect(table.healthy).toBe(true);
  });

  it('rejects a flush that failed', async () => {
    commands.on('nft', notInstalled('nft'));
    table.setHostPorts([]);
    await expect(table.flush()).rejects.toMatchObject({ code: 'CommandMissing' });
    await table.stop();
  });

  it('puts the table back when another program removed it', async () => {
    await table.flush();
    commands.take();
    await table.verify();
    await clock.advance(1000);
    expect(scripts()).toEqual([]);
    commands.on('nft list', failing('nft', 'No such file or directory'));
    await table.verify();
    await clock.advance(1000);
    expect(scripts().map(isWhole)).toEqual([true]);
  });

  it('does nothing after stop', async () => {
    table.setServices([service('a', '10.43.0.1')]);
    await table.stop();
    table.setServices([]);
    await clock.advance(10_000);
    expect(commands.take()).toEqual([]);
  });
});
