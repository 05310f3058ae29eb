import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NODES } from '../../src/api/kinds.ts';
import { BoardConditions } from '../../src/health/board-conditions.ts';
import { BoardState } from '../../src/server/bus/board-state.ts';
import { APIS, ControlPlane } from '../support/control-plane.ts';

const MIB = 2 ** 20;

describe.each(APIS)('the conditions of a board on the %s API', (api) => {
  let plane: ControlPlane;
  let boards: BoardState;

  beforeEach(async () => {
    plane = await ControlPlane.open(api);
    boards = new BoardState({ clock: plane.clock });
    await plane.start((context) => new BoardConditions({ ...context, readings: boards.readings }));
    await plane.node('pi');
  });
  afterEach(() => plane.stop());

  const node = () => plane.client.peek(NODES, undefined, 'pi');
  const conditions = () =>
    (node()?.status?.conditions ?? [])
      .filter(({ type }) => type.startsWith('Board'))
      .map(({ type, status, reason, message }) => [type, status, reason, message]);

  /** Heartbeats of a minute. */
  async function minute(measured: object): Promise<void> {
    for (let beat = 0; beat < 6; beat += 1) {
      boards.heartbeat('pi', {
        cpu: 0.1,
        load: 0,
        memTotal: 1024 * MIB,
        memAvailable: 800 * MIB,
        diskTotal: 32e9,
        diskAvailable: 20e9,
        temperature: 50 + beat,
        ...measured,
      });
      await plane.clock.advance(10_000);
    }
  }

  it('are not written while all is well', async () => {
    const before = node();
    await minute({});
    expect(node()).toBe(before);
  });

  it('say what was measured when a danger begins, once, and that it is over when it stays away', async () => {
    await minute({ temperature: 86.4 });
    expect(conditions()).toEqual([
      ['BoardTooHot', 'True', 'TemperatureTooHigh', 'measured 86 °C; no pods are placed here from 85 °C on'],
    ]);
    const written = node()?.metadata.resourceVersion;
    // It hangs about the threshold: nothing is written.
    for (let round = 0; round < 10; round += 1) await minute({ temperature: round % 2 ? 85.5 : 84 });
    expect(node()?.metadata.resourceVersion).toBe(written);
    for (let round = 0; round < 6; round += 1) await minute({ temperature: 60 });
    expect(conditions()).toEqual([
      ['BoardTooHot', 'False', 'TemperatureNormal', 'not measured for five minutes'],
    ]);
    expect(plane.events()).toEqual([
      'TemperatureTooHigh: pi: measured 86 °C; no pods are placed here from 85 °C on',
      'TemperatureNormal: pi: BoardTooHot is over',
    ]);
  });

  it('know throttling, memory and disk', async () => {
    await minute({ throttled: true, temperature: 81, memAvailable: 120 * MIB, diskAvailable: 3e9 });
    expect(conditions()).toEqual([
      [
        'BoardThrottled',
        'True',
        'Throttled',
        'the board slows down because of heat or under-voltage (81 °C); a quarter of its CPU is counted',
      ],
      [
        'BoardMemoryTight',
        'True',
        'LittleMemoryAvailable',
        'measured 120 MiB available; 154 MiB stay free of pods',
      ],
      [
        'BoardDiskTight',
        'True',
        'LittleDiskAvailable',
        'measured 2861 MiB of 30518 MiB available; no pods are placed here',
      ],
    ]);
  });
});
