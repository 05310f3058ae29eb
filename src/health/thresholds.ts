import { parseQuantity, wholeUnits } from '../api/quantity.ts';

/** The signals of the kubelet's eviction manager, by what runs short. nodefs holds volumes, imagefs images and containers. */
export type Signal =
  | 'memory.available'
  | 'nodefs.available'
  | 'nodefs.inodesFree'
  | 'imagefs.available'
  | 'imagefs.inodesFree'
  | 'pid.available';

/** Units (bytes, inodes, processes), or a share of the capacity. */
export type Amount = { units: number } | { share: number };

export interface Threshold {
  signal: Signal;
  /** Crossed below it. */
  least: Amount;
  /** How long a soft threshold has to be crossed before pods go. Undefined: a hard one, at once. */
  graceMs?: number;
  /** On top of `least`, once it was crossed. */
  reclaim?: Amount;
}

/** As flags give them: `100Mi`, `10%`. */
interface SignalText {
  signal: Signal;
  amount: string;
}

export interface ThresholdTexts {
  hard: readonly SignalText[];
  soft: readonly SignalText[];
  softGrace: readonly { signal: Signal; milliseconds: number }[];
  reclaim: readonly SignalText[];
}

/**
 * The kubelet's defaults, and one for processes (it has none): threads-max of a board with 1 GB is some thousands, and a
 * board that cannot fork cannot be logged into.
 */
export const DEFAULT_HARD: readonly SignalText[] = [
  { signal: 'memory.available', amount: '100Mi' },
  { signal: 'nodefs.available', amount: '10%' },
  { signal: 'nodefs.inodesFree', amount: '5%' },
  { signal: 'imagefs.available', amount: '15%' },
  { signal: 'imagefs.inodesFree', amount: '5%' },
  { signal: 'pid.available', amount: '5%' },
];

/** What is watched. An amount of nothing switches its signal off; the same signal twice: the last one counts. */
export function thresholdsOf(texts: ThresholdTexts): Threshold[] {
  const reclaim = new Map(texts.reclaim.map(({ signal, amount }) => [signal, amountOf(amount)]));
  const grace = new Map(texts.softGrace.map(({ signal, milliseconds }) => [signal, milliseconds]));
  const build = (given: readonly SignalText[], soft: boolean): Threshold[] =>
    [...new Map(given.map(({ signal, amount }) => [signal, amountOf(amount)]))].flatMap(([signal, least]) => {
      if (isNothing(least)) return [];
      const more = reclaim.get(signal);
      return [
        {
          signal,
          least,
          ...(soft ? { graceMs: grace.get(signal) ?? 0 } : {}),
          ...(more ? { reclaim: more } : {}),
        },
      ];
    });
  return [...build(texts.hard.length > 0 ? texts.hard : DEFAULT_HARD, false), ...build(texts.soft, true)];
}

function amountOf(text: string): Amount {
  if (text.endsWith('%')) return { share: Number.parseFloat(text) / 100 };
  return { units: wholeUnits(parseQuantity(text)) };
}

function isNothing(amount: Amount): boolean {
  // Below 0 nothing can fall; below all of it there is always less: both mean that nobody shall look.
  if ('share' in amount) return amount.share <= 0 || amount.share >= 1;
  return amount.units <= 0;
}

/** An amount in units of the signal. */
export function unitsOf(amount: Amount, capacity: number): number {
  return 'units' in amount ? amount.units : Math.floor(capacity * amount.share);
}
