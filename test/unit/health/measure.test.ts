import { describe, expect, it } from 'vitest';
import {
  cpuIsCooled,
  cpuUse,
  hottest,
  parseCpuTimes,
  parseLoad,
  parseThrottled,
  smooth,
} from '../../../src/health/measure-parse.ts';

describe('measurements', () => {
  it('reads processor times', () => {
    const stat =
      'cpu  10132153 290696 3084719 46828483 16683 0 25195 100 175628 0\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 1\n';
    expect(parseCpuTimes(stat)).toEqual({ busy: 10132153 + 290696 + 3084719 + 25195 + 100, total: 60378029 });
    // ARM kernels of long ago have fewer columns.
    expect(parseCpuTimes('cpu  5 0 5 90\n')).toEqual({ busy: 10, total: 100 });
    expect(parseCpuTimes('')).toBeUndefined();
    expect(parseCpuTimes('intr 5')).toBeUndefined();
  });

  it('computes use between readings, never from counters that stood still or went back', () => {
    expect(cpuUse({ busy: 10, total: 100 }, { busy: 60, total: 200 })).toBe(0.5);
    expect(cpuUse({ busy: 10, total: 100 }, { busy: 10, total: 100 })).toBeUndefined();
    expect(cpuUse({ busy: 60, total: 200 }, { busy: 1, total: 2 })).toBeUndefined();
  });

  it('reads the load', () => {
    expect(parseLoad('0.52 0.58 0.59 1/467 12345\n')).toBe(0.52);
    expect(parseLoad('')).toBeUndefined();
  });

  it.each([
    ['Raspberry Pi 4', [{ type: 'cpu-thermal', reading: '48686\n' }], 48.686],
    [
      'Raspberry Pi 5',
      [
        { type: 'cpu-thermal', reading: '61700\n' },
        { type: 'rp1_adc', reading: '52300\n' },
      ],
      61.7,
    ],
    [
      'ODROID-N2',
      [
        { type: 'soc_thermal', reading: '43000' },
        { type: 'ddr_thermal', reading: '44000' },
      ],
      44,
    ],
    ['ODROID-C1, whole degrees', [{ type: 'aml_thermal', reading: '51' }], 51],
    [
      'x64 laptop',
      [
        { type: 'acpitz', reading: '27800' },
        { type: 'x86_pkg_temp', reading: '55000' },
        { type: 'iwlwifi_1', reading: '70000' },
        { type: 'pch_skylake', reading: '80000' },
      ],
      55,
    ],
    ['a frosty box', [{ type: 'cpu-thermal', reading: '-5200' }], -5.2],
    [
      'a broken sensor',
      [
        { type: 'acpitz', reading: '-273200' },
        { type: 'cpu', reading: '0' },
        { type: 'x', reading: '9999000' },
      ],
      undefined,
    ],
    ['a sensor that cannot be read now', [{ type: 'cpu-thermal', reading: '' }], undefined],
    ['none', [], undefined],
  ])('finds the temperature: %s', (_board, sensors, celsius) => {
    expect(hottest(sensors)).toBe(celsius);
  });

  it('tells throttling now from throttling once', () => {
    expect(parseThrottled('0\n')).toBe(false);
    expect(parseThrottled('0x50000')).toBe(false);
    expect(parseThrottled('50005\n')).toBe(true);
    expect(parseThrottled('0x8')).toBe(true);
    expect(parseThrottled('')).toBeUndefined();
    expect(parseThrottled('error')).toBeUndefined();
    expect(
      cpuIsCooled([
        { type: 'cpufreq-cpu0', state: '0' },
        { type: 'pwm-fan', state: '3' },
      ]),
    ).toBe(false);
    expect(cpuIsCooled([{ type: 'thermal-cpufreq-0', state: '2' }])).toBe(true);
    expect(cpuIsCooled([{ type: 'pwm-fan', state: '3' }])).toBeUndefined();
  });

  it('smooths by the time that passed, not by the number of readings', () => {
    let often = 0;
    for (let index = 0; index < 60; index += 1) often = smooth(often, 1, 1_000);
    const once = smooth(0, 1, 60_000);
    expect(often).toBeCloseTo(once, 10);
    expect(once).toBeCloseTo(1 - 1 / Math.E, 10);
    expect(smooth(undefined, 0.7, 0)).toBe(0.7);
    expect(smooth(0.5, 1, -5)).toBe(0.5);
  });
});
