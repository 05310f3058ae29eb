import { describe, expect, it } from 'vitest';
import { encodeHeartbeat, HeartbeatSender, MAX_HEARTBEAT_BYTES } from '../../../src/agent/heartbeat.ts';
import { osImage } from '../../../src/agent/registration.ts';
import { defaultInterface, internalAddress } from '../../../src/health/node-address.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { filters } from '../../../src/wire/topics.ts';
import { parseMessage } from '../../../src/wire/validate.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { SimulatedBroker } from '../../support/simulated-broker.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const m = {
  cpu: 0.123456789,
  load: 3.99999,
  memTotal: 8_000_000_000,
  memAvailable: 4_123_456_789,
  diskTotal: 128_000_000_000,
  diskAvailable: 99_999_999_999,
  temperature: 61.234,
  throttled: true,
};

describe('heartbeat', () => {
  it('stays within its bytes, whatever is wrong with the node', () => {
    const conditions = Object.fromEntries(
      ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure', 'Throttled', 'Hot'].map((type) => [
        type,
        'ä'.repeat(500),
      ]),
    );
    const payload = encodeHeartbeat(2 ** 40, m, conditions);
    expect(Buffer.byteLength(payload)).toBeLessThanOrEqual(MAX_HEARTBEAT_BYTES);
    const parsed = parseMessage('Heartbeat', payload);
    expect(parsed.ok && Object.keys(parsed.message.c ?? {})).toEqual(Object.keys(conditions));
    expect(encodeHeartbeat(1, m, {}).length).toBeLessThan(250);
  });

  it('beats every ten seconds while connected, with a little jitter', async () => {
    const clock = new VirtualClock();
    const random = new SeededRandom(3);
    const broker = new SimulatedBroker({ clock, random });
    const server = broker.bus({ clientId: 'server' });
    const beats: number[] = [];
    server.subscribe(filters.allHeartbeats(), () => beats.push(clock.monotonic()));
    await server.start();
    const bus = broker.bus({ clientId: 'n', node: 'n' });
    const sender = new HeartbeatSender({
      node: 'n',
      bus,
      clock,
      random,
      logger: silentLogger,
      measure: async () => m,
      conditions: () => ({}),
    });
    await sender.start();
    await clock.advance(60_000);
    expect(beats).toEqual([]);
    await bus.start();
    await clock.advance(100_000);
    expect(beats.length).toBeGreaterThanOrEqual(10);
    expect(beats.length).toBeLessThanOrEqual(12);
    const gaps = beats.slice(1).map((beat, index) => beat - (beats[index] as number));
    expect(new Set(gaps.map(Math.round)).size).toBeGreaterThan(3);
    for (const gap of gaps) expect(gap).toBeGreaterThanOrEqual(9_000);
    for (const gap of gaps) expect(gap).toBeLessThanOrEqual(10_000);
    await sender.stop();
    const { length } = beats;
    await clock.advance(60_000);
    expect(beats).toHaveLength(length);
  });

  it('tells of a condition that changes while a beat is under way', async () => {
    const clock = new VirtualClock();
    const random = new SeededRandom(4);
    const broker = new SimulatedBroker({ clock, random });
    const server = broker.bus({ clientId: 'server' });
    const told: (string | undefined)[] = [];
    server.subscribe(filters.allHeartbeats(), (_topic, payload) => {
      const parsed = parseMessage('Heartbeat', payload);
      told.push(parsed.ok ? parsed.message.c?.Ready : 'unreadable');
    });
    await server.start();
    const bus = broker.bus({ clientId: 'n', node: 'n' });
    let ready: string | undefined = 'the engine is away';
    const sender = new HeartbeatSender({
      node: 'n',
      bus,
      clock,
      random,
      logger: silentLogger,
      measure: async () => m,
      conditions: () => {
        const conditions: Record<string, string> = ready === undefined ? {} : { Ready: ready };
        // It comes back right after this beat was written.
        ready = undefined;
        return conditions;
      },
    });
    await bus.start();
    await sender.start();
    await clock.advance(1_000);
    const first = sender.now();
    void sender.now();
    await clock.advance(1_000);
    await first;
    expect(told).toEqual(['the engine is away', undefined]);
    await sender.stop();
  });
});

describe('facts of the node', () => {
  it('reads the name of the system', () => {
    expect(osImage('NAME="x"\nPRETTY_NAME="Raspbian GNU/Linux 12 (bookworm)"\nID=raspbian\n')).toBe(
      'Raspbian GNU/Linux 12 (bookworm)',
    );
    expect(osImage("PRETTY_NAME='Alpine'")).toBe('Alpine');
    expect(osImage('')).toBe('Linux');
  });

  it('takes the address of the default route with the least metric', () => {
    const routes = [
      'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT',
      'wlan0\t00000000\t0100A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0',
      'eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0',
      'eth0\t0000A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0',
    ].join('\n');
    expect(defaultInterface(routes)).toBe('eth0');
    expect(defaultInterface('Iface\n')).toBeUndefined();
    const address = (text: string) => [{ address: text, family: 'IPv4', internal: false }];
    const interfaces = {
      lo: [{ address: '127.0.0.1', family: 'IPv4', internal: true }],
      cpod0: address('10.42.0.1'),
      docker0: address('172.17.0.1'),
      end0: address('192.168.0.7'),
      eth0: [{ address: 'fe80::1', family: 'IPv6', internal: false }, ...address('192.168.0.9')],
    };
    expect(internalAddress(interfaces, 'eth0')).toBe('192.168.0.9');
    expect(internalAddress(interfaces, undefined)).toBe('192.168.0.7');
    expect(internalAddress({ lo: interfaces.lo }, undefined)).toBeUndefined();
  });
});
