// Kubernetes quantities ("100m", "1.5Gi", "2e3"), exact: a value is an integer count of nano units.

/** How a quantity was written, which decides how it is written again. */
export type QuantityFormat = 'DecimalSI' | 'BinarySI' | 'DecimalExponent';

export interface Quantity {
  /** The value in units of 10^-9. */
  readonly nano: bigint;
  readonly format: QuantityFormat;
}

export class QuantityError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'QuantityError';
  }
}

const NANO = 1_000_000_000n;
/** Larger values are cut to this, as apimachinery does (2^63-1 units). */
const LARGEST = (2n ** 63n - 1n) * NANO;
/** Longer than any sensible number; keeps a hostile one from costing CPU. */
const LONGEST_TEXT = 256;

const DECIMAL: Readonly<Record<string, number>> = {
  n: -9,
  u: -6,
  m: -3,
  '': 0,
  k: 3,
  M: 6,
  G: 9,
  T: 12,
  P: 15,
  E: 18,
};
const BINARY: Readonly<Record<string, number>> = { Ki: 10, Mi: 20, Gi: 30, Ti: 40, Pi: 50, Ei: 60 };
const DECIMAL_SUFFIX = new Map(Object.entries(DECIMAL).map(([suffix, power]) => [power, suffix]));
const BINARY_SUFFIX = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];

const SHAPE = /^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$/;
const WRONG_FORMAT =
  "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/** Throws QuantityError with apimachinery's words. */
export function parseQuantity(text: string): Quantity {
  if (text.length > LONGEST_TEXT) throw new QuantityError(WRONG_FORMAT);
  const match = SHAPE.exec(text);
  if (!match) throw new QuantityError(WRONG_FORMAT);
  const [, number = '', suffix = ''] = match;
  const parts = /^([+-]?)([0-9]*)(?:\.([0-9]*))?$/.exec(number);
  if (!parts || (parts[2] === '' && (parts[3] ?? '') === '')) {
    throw new QuantityError('unable to parse numeric part of quantity');
  }
  const fraction = parts[3] ?? '';
  const digits = BigInt(`${parts[2]}${fraction}`);
  const { base, power, format } = parseSuffix(suffix);
  // digits * 10^-fraction.length * base^power, counted in nano units, rounded away from zero.
  let numerator = digits * NANO;
  let denominator = 10n ** BigInt(fraction.length);
  // Beyond these the value is certainly cut to the largest, or rounds up to one nano unit.
  const bounded = Math.max(-600, Math.min(600, power));
  if (bounded >= 0) numerator *= BigInt(base) ** BigInt(bounded);
  else denominator *= BigInt(base) ** BigInt(-bounded);
  let nano = numerator / denominator;
  if (numerator % denominator !== 0n) nano += 1n;
  if (nano > LARGEST) nano = LARGEST;
  return { nano: parts[1] === '-' ? -nano : nano, format };
}

function parseSuffix(suffix: string): { base: number; power: number; format: QuantityFormat } {
  const decimal = Object.hasOwn(DECIMAL, suffix) ? DECIMAL[suffix] : undefined;
  if (decimal !== undefined) return { base: 10, power: decimal, format: 'DecimalSI' };
  const binary = Object.hasOwn(BINARY, suffix) ? BINARY[suffix] : undefined;
  if (binary !== undefined) return { base: 2, power: binary, format: 'BinarySI' };
  const exponent = /^[eE]([+-]?[0-9]+)$/.exec(suffix);
  if (!exponent) throw new QuantityError("unable to parse quantity's suffix");
  return { base: 10, power: Number(exponent[1]), format: 'DecimalExponent' };
}

/** The value of a quantity field that has already been checked; numbers are read as they are written. */
export function quantityOf(value: unknown): Quantity {
  return parseQuantity(String(value));
}

/** The one way Kubernetes writes this value: 1024Mi is 1Gi, 0.25 is 250m. */
export function formatQuantity({ nano, format }: Quantity): string {
  if (nano === 0n) return '0';
  const whole = nano % NANO === 0n;
  const units = nano / NANO;
  if (format === 'BinarySI' && whole && (units >= 1024n || units <= -1024n)) {
    let mantissa = units;
    let power = 0;
    while (mantissa % 1024n === 0n && power < 6) {
      mantissa /= 1024n;
      power += 1;
    }
    return `${mantissa}${BINARY_SUFFIX[power]}`;
  }
  let mantissa = nano;
  let power = -9;
  while (mantissa % 1000n === 0n && power < 18) {
    mantissa /= 1000n;
    power += 3;
  }
  if (format === 'DecimalExponent') return power === 0 ? `${mantissa}` : `${mantissa}e${power}`;
  return `${mantissa}${DECIMAL_SUFFIX.get(power)}`;
}

export function canonicalQuantity(text: string): string {
  return formatQuantity(parseQuantity(text));
}

/** Negative, zero or positive, as for sorting. */
export function compareQuantities(left: Quantity, right: Quantity): number {
  return left.nano < right.nano ? -1 : left.nano > right.nano ? 1 : 0;
}

/** The sum, in the format of the left one (or of the right one when the left is zero). */
export function addQuantities(left: Quantity, right: Quantity): Quantity {
  return { nano: left.nano + right.nano, format: left.nano === 0n ? right.format : left.format };
}

export function subtractQuantities(left: Quantity, right: Quantity): Quantity {
  return { nano: left.nano - right.nano, format: left.nano === 0n ? right.format : left.format };
}

/** Whole units, rounded up as Quantity.Value() does: bytes of memory. */
export function wholeUnits({ nano }: Quantity): number {
  return Number(roundUp(nano, NANO));
}

/** Thousandths, rounded up as Quantity.MilliValue() does: millicores of CPU. */
export function milliUnits({ nano }: Quantity): number {
  return Number(roundUp(nano, NANO / 1000n));
}

function roundUp(value: bigint, step: bigint): bigint {
  const quotient = value / step;
  if (value % step === 0n) return quotient;
  return value > 0n ? quotient + 1n : quotient - 1n;
}
