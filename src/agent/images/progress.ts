/** One line of the engine's report on a pull. */
export interface PullEntry {
  /** The layer; absent for lines about the whole. */
  id?: string;
  status?: string;
  progressDetail?: { current?: number; total?: number };
}

const MIB = 1024 * 1024;
/** When a pull that goes on is told of, after its beginning; later every five minutes. */
const TOLD_AFTER_MS = [30_000, 60_000, 120_000, 240_000, 480_000];
const TOLD_EVERY_MS = 300_000;

/** How far a pull is, from the lines that the engine reports. */
export class PullProgress {
  private readonly layers = new Map<
    string,
    { current: number; total: number; state: 'waits' | 'loads' | 'unpacks' | 'done' }
  >();

  add({ id, status = '', progressDetail }: PullEntry): void {
    if (id === undefined) return;
    const layer = this.layers.get(id);
    switch (status) {
      case 'Pulling fs layer':
      case 'Waiting':
        if (!layer) this.layers.set(id, { current: 0, total: 0, state: 'waits' });
        return;
      case 'Already exists':
        this.layers.set(id, { current: 0, total: 0, state: 'done' });
        return;
      case 'Downloading':
        if (layer) Object.assign(layer, { ...known(progressDetail), state: 'loads' });
        return;
      case 'Download complete':
      case 'Verifying Checksum':
      case 'Extracting':
        if (layer) Object.assign(layer, { current: layer.total, state: 'unpacks' });
        return;
      case 'Pull complete':
        if (layer) Object.assign(layer, { current: layer.total, state: 'done' });
        return;
    }
  }

  /** `34.1 MiB of 120.0 MiB, 3 of 7 layers done`; undefined while nothing is known. */
  text(): string | undefined {
    if (this.layers.size === 0) return undefined;
    const layers = [...this.layers.values()];
    const sum = (of: 'current' | 'total'): number => layers.reduce((total, layer) => total + layer[of], 0);
    const done = layers.filter(({ state }) => state === 'done').length;
    // Layers that have not begun do not tell their size.
    const more = layers.some(({ state }) => state === 'waits') ? 'at least ' : '';
    return `${mebibytes(sum('current'))} of ${more}${mebibytes(sum('total'))}, ${done} of ${layers.length} layers done`;
  }
}

/** The next moment, in milliseconds after its beginning, at which a pull is told of that was told of `count` times. */
export function toldAt(count: number): number {
  const last = TOLD_AFTER_MS[TOLD_AFTER_MS.length - 1] ?? 0;
  return TOLD_AFTER_MS[count] ?? last + (count - TOLD_AFTER_MS.length + 1) * TOLD_EVERY_MS;
}

function known(detail: PullEntry['progressDetail']): { current?: number; total?: number } {
  const { current, total } = detail ?? {};
  return { ...(current === undefined ? {} : { current }), ...(total === undefined ? {} : { total }) };
}

function mebibytes(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}
