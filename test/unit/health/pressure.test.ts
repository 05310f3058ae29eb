import { describe, expect, it } from 'vitest';
import { judgePressure, NO_PRESSURE, type Readings, untilMemoryCheck } from '../../../src/health/pressure.ts';
import { parseMemory, parsePids } from '../../../src/health/signals.ts';
import { type Threshold, thresholdsOf } from '../../../src/health/thresholds.ts';

const MIB = 1024 * 1024;
const NONE = { hard: [], soft: [], softGrace: [], reclaim: [] };
const board = (memory: number, disk = 0.5): Readings => ({
  'memory.available': { available: memory * MIB, capacity: 1024 * MIB },
  'nodefs.available': { available: disk * 1e10, capacity: 1e10 },
  'nodefs.inodesFree': { available: 5e5, capacity: 1e6 },
});

/** Judges readings one after the other, as the manager does. */
function judge(thresholds: readonly Threshold[], transitionMs = 300_000) {
  let state = NO_PRESSURE;
  return (now: number, readings: Readings) => {
    const pressure = judgePressure({ readings, thresholds, state, now, transitionMs });
    state = pressure.state;
    return {
      conditions: Object.keys(pressure.conditions),
      acting: pressure.acting.map(({ signal, graceMs }) =>
        graceMs === undefined ? signal : `soft ${signal}`,
      ),
    };
  };
}

describe('thresholds', () => {
  it('are those of the kubelet when nothing is said', () => {
    expect(thresholdsOf(NONE)).toEqual([
      { signal: 'memory.available', least: { units: 100 * MIB } },
      { signal: 'nodefs.available', least: { share: 0.1 } },
      { signal: 'nodefs.inodesFree', least: { share: 0.05 } },
      { signal: 'imagefs.available', least: { share: 0.15 } },
      { signal: 'imagefs.inodesFree', least: { share: 0.05 } },
      { signal: 'pid.available', least: { share: 0.05 } },
    ]);
  });

  it('are replaced as a whole, switched off by nothing, and joined with their periods and amounts', () => {
    const thresholds = thresholdsOf({
      hard: [
        { signal: 'memory.available', amount: '0%' },
        { signal: 'nodefs.available', amount: '1Gi' },
        { signal: 'imagefs.available', amount: '100%' },
      ],
      soft: [{ signal: 'memory.available', amount: '20%' }],
      softGrace: [{ signal: 'memory.available', milliseconds: 90_000 }],
      reclaim: [{ signal: 'nodefs.available', amount: '500Mi' }],
    });
    expect(thresholds).toEqual([
      { signal: 'nodefs.available', least: { units: 1024 * MIB }, reclaim: { units: 500 * MIB } },
      { signal: 'memory.available', least: { share: 0.2 }, graceMs: 90_000 },
    ]);
  });
});

describe('pressure', () => {
  it('comes at once and stays for the transition period after it was seen last', () => {
    const at = judge(thresholdsOf(NONE));
    expect(at(0, board(500))).toEqual({ conditions: [], acting: [] });
    expect(at(10_000, board(99))).toEqual({ conditions: ['MemoryPressure'], acting: ['memory.available'] });
    expect(at(20_000, board(100))).toEqual({ conditions: ['MemoryPressure'], acting: [] });
    expect(at(309_999, board(500)).conditions).toEqual(['MemoryPressure']);
    expect(at(310_000, board(500)).conditions).toEqual([]);
  });

  it('without a transition period is told while it lasts', () => {
    const at = judge(thresholdsOf(NONE), 0);
    expect(at(0, board(50)).conditions).toEqual(['MemoryPressure']);
    expect(at(1, board(500)).conditions).toEqual([]);
  });

  it('by a soft threshold shows at once but acts only after its grace period', () => {
    const at = judge(
      thresholdsOf({
        ...NONE,
        soft: [{ signal: 'memory.available', amount: '200Mi' }],
        softGrace: [{ signal: 'memory.available', milliseconds: 60_000 }],
      }),
    );
    expect(at(0, board(150))).toEqual({ conditions: ['MemoryPressure'], acting: [] });
    expect(at(59_999, board(150)).acting).toEqual([]);
    expect(at(60_000, board(150)).acting).toEqual(['soft memory.available']);
    // Interrupted, the period begins anew.
    expect(at(70_000, board(300)).acting).toEqual([]);
    expect(at(80_000, board(150)).acting).toEqual([]);
    expect(at(140_000, board(150)).acting).toEqual(['soft memory.available']);
    // The hard one comes before it.
    expect(at(141_000, board(50)).acting).toEqual(['memory.available', 'soft memory.available']);
  });

  it('is over only when the minimum reclaim is free as well', () => {
    const at = judge(thresholdsOf({ ...NONE, reclaim: [{ signal: 'memory.available', amount: '50Mi' }] }));
    expect(at(0, board(120)).acting).toEqual([]);
    expect(at(1, board(90)).acting).toEqual(['memory.available']);
    expect(at(2, board(120)).acting).toEqual(['memory.available']);
    expect(at(3, board(150)).acting).toEqual([]);
    expect(at(4, board(120)).acting).toEqual([]);
  });

  it('of memory is relieved before that of the disk', () => {
    expect(judge(thresholdsOf(NONE))(0, board(50, 0.05))).toEqual({
      conditions: ['MemoryPressure', 'DiskPressure'],
      acting: ['memory.available', 'nodefs.available'],
    });
  });

  it('is not invented where nothing can be read', () => {
    const at = judge(thresholdsOf(NONE));
    expect(at(0, {})).toEqual({ conditions: [], acting: [] });
    // btrfs counts no inodes.
    expect(at(1, { 'nodefs.inodesFree': { available: 0, capacity: 0 } })).toEqual({
      conditions: [],
      acting: [],
    });
    expect(at(2, board(50)).acting).toEqual(['memory.available']);
    // Nobody is evicted on a guess, and the condition does not go either.
    expect(at(3, {})).toEqual({ conditions: ['MemoryPressure'], acting: [] });
  });
});

it('memory is looked at the sooner the less there is', () => {
  const until = (available: number): number =>
    Math.round(untilMemoryCheck(available * MIB, thresholdsOf(NONE), 1024 * MIB, 10_000));
  expect([1500, 850, 450, 150, 100, 20].map(until)).toEqual([10_000, 8_000, 4_000, 1_000, 500, 250]);
  expect(untilMemoryCheck(0, [], 1024 * MIB, 10_000)).toBe(10_000);
});

it('signals are read from the text of /proc', () => {
  expect(parseMemory('MemTotal:        1000 kB\nMemFree: 1 kB\nMemAvailable:     600 kB\n')).toEqual({
    available: 600 * 1024,
    capacity: 1000 * 1024,
  });
  expect(parseMemory('MemTotal:        1000 kB\nMemFree: 1 kB\n')).toBeUndefined();
  expect(parsePids('0.10 0.20 0.30 2/345 6789\n', 1000)).toEqual({ available: 655, capacity: 1000 });
  expect(parsePids('', 1000)).toBeUndefined();
});
