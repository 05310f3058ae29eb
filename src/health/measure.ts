import { readdir, readFile, statfs } from 'node:fs/promises';
import type { BoardMeasurements } from '../api/board.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import {
  type CpuTimes,
  cpuIsCooled,
  cpuUse,
  hottest,
  parseCpuTimes,
  parseLoad,
  parseThrottled,
  smooth,
} from './measure-parse.ts';

/** Where things lie was found once; it does not move. */
interface Sources {
  sensors: { type: string; path: string }[];
  cooling: { type: string; path: string }[];
  throttled: string | undefined;
}

const THROTTLED_FILES = [
  '/sys/devices/platform/soc/soc:firmware/get_throttled',
  // Raspberry Pi 5 (its devices hang below an axi bus).
  '/sys/devices/platform/axi/axi:firmware/get_throttled',
  '/sys/class/raspberrypi/throttled',
];

/**
 * Measures this board. Everything is read from /proc and /sys: of systeminformation only `mem` does the same, while its
 * currentLoad, cpuTemperature and fsSize start shells (and wait for them), which a heartbeat must not.
 */
export class BoardMeter {
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly root: string;
  private readonly dataDirectory: () => string;
  private sources: Sources | undefined;
  private last: { times: CpuTimes; at: number } | undefined;
  private cpu: number | undefined;
  private cpuAt = 0;
  private diskFailed = false;

  constructor(options: {
    clock: Clock;
    logger: Logger;
    /** Docker's data directory: the file system that images and containers fill. */
    dataDirectory: () => string;
    /** Where /proc and /sys are, other than / in tests. */
    root?: string;
  }) {
    this.clock = options.clock;
    this.logger = options.logger;
    this.dataDirectory = options.dataDirectory;
    this.root = options.root ?? '';
  }

  async measure(): Promise<BoardMeasurements> {
    this.sources ??= await this.findSources();
    const [stat, load, memory, disk, temperature, throttled] = await Promise.all([
      this.read('/proc/stat'),
      this.read('/proc/loadavg'),
      this.memory(),
      this.disk(),
      this.temperature(this.sources),
      this.throttled(this.sources),
    ]);
    this.noteCpu(parseCpuTimes(stat));
    return {
      cpu: this.cpu ?? 0,
      load: parseLoad(load) ?? 0,
      memTotal: memory.total,
      memAvailable: memory.available,
      diskTotal: disk.total,
      diskAvailable: disk.available,
      ...(temperature === undefined ? {} : { temperature }),
      ...(throttled === undefined ? {} : { throttled }),
    };
  }

  private noteCpu(times: CpuTimes | undefined): void {
    if (!times) return;
    const now = this.clock.monotonic();
    // The first reading compares with the time since boot: better than to claim that a busy board is idle.
    const use = cpuUse(this.last?.times ?? { busy: 0, total: 0 }, times);
    if (use === undefined) {
      // The counters went back (suspend): begin again from here.
      if (this.last && times.total < this.last.times.total) this.last = { times, at: now };
      return;
    }
    this.cpu = this.last ? smooth(this.cpu, use, now - this.cpuAt) : use;
    this.cpuAt = now;
    this.last = { times, at: now };
  }

  private async memory(): Promise<{ total: number; available: number }> {
    const { default: memory } = await import('systeminformation/lib/memory.js');
    const { total, available } = await memory.mem();
    return { total, available };
  }

  private async disk(): Promise<{ total: number; available: number }> {
    try {
      const { blocks, bavail, bsize } = await statfs(this.dataDirectory());
      return { total: blocks * bsize, available: bavail * bsize };
    } catch (error) {
      if (!this.diskFailed)
        this.logger.warn({ err: error }, 'the file system of Docker’s data cannot be measured');
      this.diskFailed = true;
      return { total: 0, available: 0 };
    }
  }

  private async temperature({ sensors }: Sources): Promise<number | undefined> {
    const readings = await Promise.all(
      sensors.map(async ({ type, path }) => ({ type, reading: await this.read(path) })),
    );
    return hottest(readings);
  }

  private async throttled({ throttled, cooling }: Sources): Promise<boolean | undefined> {
    const word = throttled === undefined ? undefined : parseThrottled(await this.read(throttled));
    if (word !== undefined) return word;
    return cpuIsCooled(
      await Promise.all(cooling.map(async ({ type, path }) => ({ type, state: await this.read(path) }))),
    );
  }

  private async findSources(): Promise<Sources> {
    const sensors: Sources['sensors'] = [];
    const cooling: Sources['cooling'] = [];
    for (const name of await this.entries('/sys/class/thermal')) {
      const directory = `/sys/class/thermal/${name}`;
      const type = (await this.read(`${directory}/type`)).trim();
      if (name.startsWith('thermal_zone')) sensors.push({ type, path: `${directory}/temp` });
      else if (name.startsWith('cooling_device')) cooling.push({ type, path: `${directory}/cur_state` });
    }
    // Where there are zones, hwmon shows the same sensors again.
    if (sensors.length === 0) {
      for (const name of await this.entries('/sys/class/hwmon')) {
        const directory = `/sys/class/hwmon/${name}`;
        const type = (await this.read(`${directory}/name`)).trim();
        for (const file of await this.entries(directory)) {
          if (/^temp\d+_input$/.test(file)) sensors.push({ type, path: `${directory}/${file}` });
        }
      }
    }
    let throttled: string | undefined;
    for (const path of THROTTLED_FILES) {
      if ((await this.read(path)) !== '') {
        throttled = path;
        break;
      }
    }
    return { sensors, cooling, throttled };
  }

  private entries(path: string): Promise<string[]> {
    return readdir(`${this.root}${path}`).then(
      (names) => names.sort(),
      () => [],
    );
  }

  /** Empty when it is not there or cannot be read now: boards differ. */
  private read(path: string): Promise<string> {
    return readFile(`${this.root}${path}`, 'utf8').catch(() => '');
  }
}
