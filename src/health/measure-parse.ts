/** Readings of /proc and /sys, as pure functions of their text. */

export interface CpuTimes {
  /** In clock ticks since boot, over all cores. */
  busy: number;
  total: number;
}

/**
 * The `cpu` line of /proc/stat (proc(5)): user nice system idle iowait irq softirq steal guest guest_nice. Guest time is
 * contained in user time. A core that waits for its disk is idle; one that was taken away by a hypervisor is not.
 */
export function parseCpuTimes(stat: string): CpuTimes | undefined {
  const line = stat.split('\n', 1)[0] ?? '';
  if (!line.startsWith('cpu ')) return undefined;
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = line
    .slice(4)
    .trim()
    .split(/\s+/)
    .map(Number);
  const busy = user + nice + system + irq + softirq + steal;
  const total = busy + idle + iowait;
  return Number.isFinite(total) ? { busy, total } : undefined;
}

/** Fraction of all cores in use between two readings; undefined when no tick passed (or the counters went back). */
export function cpuUse(before: CpuTimes, after: CpuTimes): number | undefined {
  const total = after.total - before.total;
  const busy = after.busy - before.busy;
  if (total <= 0 || busy < 0) return undefined;
  return Math.min(1, busy / total);
}

/** The one minute average of /proc/loadavg. */
export function parseLoad(loadavg: string): number | undefined {
  const value = Number(loadavg.split(' ', 1)[0] || Number.NaN);
  return Number.isFinite(value) ? value : undefined;
}

/** Zones that are not the chip's heat: batteries, chargers, Wi-Fi modules. Their readings mislead (0, or a constant). */
const OTHER_ZONES = /batt|charger|wifi|iwl|pch|ambient|usb/i;
/** Sensors that fail read 0, -273 or thousands. */
const COLDEST = -40;
const HOTTEST = 150;

/**
 * The hottest of the sensors in degrees Celsius: thermal zones and hwmon both give thousandths; some boards' kernels
 * (old ODROID) give whole degrees.
 */
export function hottest(sensors: readonly { type: string; reading: string }[]): number | undefined {
  let highest: number | undefined;
  for (const { type, reading } of sensors) {
    if (OTHER_ZONES.test(type) || reading.trim() === '') continue;
    const raw = Number(reading.trim());
    if (!Number.isFinite(raw) || raw === 0) continue;
    const celsius = Math.abs(raw) < 200 ? raw : raw / 1000;
    if (celsius < COLDEST || celsius > HOTTEST) continue;
    if (highest === undefined || celsius > highest) highest = celsius;
  }
  return highest;
}

/**
 * The firmware's get_throttled word of a Raspberry Pi, hexadecimal with or without 0x. Bits 0 to 3 are the present
 * state: under-voltage, frequency capped, throttled, soft temperature limit. Bits 16 to 19 say that it happened since
 * boot, which is no reason to avoid the board now.
 */
export function parseThrottled(word: string): boolean | undefined {
  const digits = word.trim().replace(/^0x/i, '');
  if (!/^[0-9a-f]+$/i.test(digits)) return undefined;
  return (Number.parseInt(digits, 16) & 0xf) !== 0;
}

/** A cooling device of the processor that is in use: how boards without that firmware word tell that they slow down. */
export function cpuIsCooled(devices: readonly { type: string; state: string }[]): boolean | undefined {
  const processors = devices.filter(({ type }) => /cpu|processor/i.test(type));
  if (processors.length === 0) return undefined;
  return processors.some(({ state }) => Number(state.trim()) > 0);
}

/**
 * An exponentially weighted mean over about `tauMs`. The weight follows the time that passed, so that it does not matter
 * how often it is read.
 */
export function smooth(
  previous: number | undefined,
  value: number,
  elapsedMs: number,
  tauMs = 60_000,
): number {
  if (previous === undefined) return value;
  const weight = 1 - Math.exp(-Math.max(0, elapsedMs) / tauMs);
  return previous + weight * (value - previous);
}
