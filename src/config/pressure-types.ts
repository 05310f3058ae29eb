import { DURATION_UNITS, type ValueType } from './value-types.ts';

/** What a kubelet watches so that a board does not run dry. */
const SIGNALS = [
  'memory.available',
  'nodefs.available',
  'nodefs.inodesFree',
  'imagefs.available',
  'imagefs.inodesFree',
  'pid.available',
] as const;
export type EvictionSignal = (typeof SIGNALS)[number];

/** A signal with an amount: a quantity (`100Mi`) or a share of the capacity (`10%`). */
export interface SignalAmount {
  signal: EvictionSignal;
  amount: string;
}

export interface SignalPeriod {
  signal: EvictionSignal;
  milliseconds: number;
}

export interface Reservation {
  resource: 'cpu' | 'memory' | 'ephemeral-storage' | 'pid';
  quantity: string;
}

const AMOUNT = /^(\d+(\.\d+)?%|\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?)$/;
const QUANTITY = /^\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$/;
const RESERVABLE = ['cpu', 'memory', 'ephemeral-storage', 'pid'] as const;

/** The halves of `left<right`; undefined when there are not two. */
function halves(text: string, operator: string): [string, string] | undefined {
  const at = text.indexOf(operator);
  return at < 0 ? undefined : [text.slice(0, at).trim(), text.slice(at + 1).trim()];
}

const signalOf = (text: string): EvictionSignal | undefined => SIGNALS.find((signal) => signal === text);

const signalAmount =
  (operator: string) =>
  (text: string): SignalAmount | undefined => {
    const [name, amount] = halves(text, operator) ?? [];
    const signal = signalOf(name ?? '');
    if (!signal || amount === undefined || !AMOUNT.test(amount)) return undefined;
    return amount.endsWith('%') && Number.parseFloat(amount) > 100 ? undefined : { signal, amount };
  };

/** `--eviction-hard`, `--eviction-soft`. */
export const evictionThreshold: ValueType<SignalAmount> = {
  expected: `a threshold such as memory.available<100Mi or nodefs.available<10%; signals are ${SIGNALS.join(', ')}`,
  placeholder: 'SIGNAL<AMOUNT',
  parse: signalAmount('<'),
};

/** `--eviction-minimum-reclaim`. */
export const evictionReclaim: ValueType<SignalAmount> = {
  expected: `an amount such as nodefs.available=500Mi or imagefs.available=5%; signals are ${SIGNALS.join(', ')}`,
  placeholder: 'SIGNAL=AMOUNT',
  parse: signalAmount('='),
};

/** `--eviction-soft-grace-period`. */
export const evictionGracePeriod: ValueType<SignalPeriod> = {
  expected: 'a period such as memory.available=90s',
  placeholder: 'SIGNAL=DURATION',
  parse: (text) => {
    const [name, period] = halves(text, '=') ?? [];
    const signal = signalOf(name ?? '');
    const milliseconds = parsePeriod(period ?? '');
    return signal && milliseconds !== undefined ? { signal, milliseconds } : undefined;
  },
};

/** Go's durations as far as kubelet flags use them: 0, 90s, 5m0s, 1m30s. */
export const period: ValueType<number> = {
  expected: 'a duration like 0s, 90s or 5m',
  placeholder: 'DURATION',
  parse: (text) => parsePeriod(text),
};

function parsePeriod(text: string): number | undefined {
  if (text === '0') return 0;
  if (!/^(\d+[smhd])+$/.test(text)) return undefined;
  let sum = 0;
  for (const [, count, unit = ''] of text.matchAll(/(\d+)([smhd])/g)) {
    sum += Number(count) * (DURATION_UNITS[unit] ?? 0) * 1000;
  }
  return Number.isSafeInteger(sum) ? sum : undefined;
}

/** `--kube-reserved`, `--system-reserved`. */
export const reservation: ValueType<Reservation> = {
  expected: `a reservation such as memory=128Mi; resources are ${RESERVABLE.join(', ')}`,
  placeholder: 'RESOURCE=QUANTITY',
  parse: (text) => {
    const [name, quantity] = halves(text, '=') ?? [];
    const resource = RESERVABLE.find((known) => known === name);
    return resource && quantity !== undefined && QUANTITY.test(quantity) ? { resource, quantity } : undefined;
  },
};

/** In bytes. */
export const size: ValueType<number> = {
  expected: 'a size such as 10Mi, at least 4Ki',
  placeholder: 'SIZE',
  parse: (text) => {
    const [, count = '', unit = ''] = /^(\d{1,9})(Ki|Mi|Gi)?$/.exec(text) ?? [];
    const bytes = Number(count) * ({ Ki: 1024, Mi: 1024 ** 2, Gi: 1024 ** 3 }[unit] ?? 1);
    return count !== '' && bytes >= 4096 ? bytes : undefined;
  },
};

/** A count from 2 on: a log file in use and one put aside. */
export const fileCount: ValueType<number> = {
  expected: 'a whole number, 2 or more',
  placeholder: 'N',
  parse: (text) => (/^\d{1,4}$/.test(text) && Number(text) >= 2 ? Number(text) : undefined),
};

/** -1: no limit. */
export const pids: ValueType<number> = {
  expected: 'a whole number above 0, or -1 for no limit',
  placeholder: 'N',
  parse: (text) => (text === '-1' ? -1 : /^[1-9]\d{0,8}$/.test(text) ? Number(text) : undefined),
};
