// String formats that Kubernetes enforces (go-openapi's strfmt); a format it does not know constrains nothing.
import { isIP } from 'node:net';
import { dnsLabel, dnsSubdomain } from '../../../api/names.ts';
import { firstBadBase64 } from '../../../api/schema-decode.ts';

type Test = (text: string) => boolean;

/** Longer texts are no value of any format; base64 is the exception. */
const LONGEST = 8192;

const matches =
  (form: RegExp): Test =>
  (text) =>
    text.length <= LONGEST && form.test(text);

const DATE_TIME =
  /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2}|60)(?:\.\d+)?(?:[Zz]|[+-]\d{2}:?\d{2})$/;
const UUID = '[0-9a-f]{8}-?[0-9a-f]{4}-?';
const GO_DURATION =
  /^[-+]?(?:0|(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h)(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))*)$/;
const NAMED_DURATION =
  /^-?\d+(?:\.\d+)?\s*(?:ns|nanos?|nanoseconds?|us|µs|μs|micros?|microseconds?|ms|millis?|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)$/;

function isDate(text: string): boolean {
  const match = /^(\d{4})-(\d{2})-(\d{2})$/.exec(text);
  if (!match) return false;
  const date = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(text);
}

function isDateTime(text: string): boolean {
  if (text.length > LONGEST || !DATE_TIME.test(text)) return false;
  return isDate(text.slice(0, 10)) && Number(text.slice(11, 13)) < 24 && Number(text.slice(14, 16)) < 60;
}

function isUri(text: string): boolean {
  // Go's ParseRequestURI: absolute, or a path.
  if (text.length > LONGEST || /[\s\p{Cc}]/u.test(text)) return false;
  return text.startsWith('/') || /^[A-Za-z][A-Za-z0-9+.-]*:.+/.test(text);
}

function isCidr(text: string): boolean {
  const slash = text.lastIndexOf('/');
  const version = slash < 0 || text.length > 64 ? 0 : isIP(text.slice(0, slash));
  const bits = text.slice(slash + 1);
  return version !== 0 && /^(?:0|[1-9]\d{0,2})$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128);
}

function isHostname(text: string): boolean {
  return (
    text.length <= 255 &&
    text
      .replace(/\.$/, '')
      .split('.')
      .every((label) =>
        /^[a-zA-Z0-9\u00a1-\uffff_](?:[a-zA-Z0-9\u00a1-\uffff_-]{0,61}[a-zA-Z0-9\u00a1-\uffff_])?$/.test(
          label,
        ),
      )
  );
}

function hasLuhnSum(text: string): boolean {
  const digits = text.replaceAll(/[ -]/g, '');
  if (!/^\d{12,19}$/.test(digits)) return false;
  let sum = 0;
  for (let index = 0; index < digits.length; index += 1) {
    const digit = Number(digits[digits.length - 1 - index]);
    const weighed = index % 2 === 1 ? digit * 2 : digit;
    sum += weighed > 9 ? weighed - 9 : weighed;
  }
  return sum % 10 === 0;
}

function isIsbn10(text: string): boolean {
  const digits = text.replaceAll(/[ -]/g, '');
  if (!/^\d{9}[\dX]$/.test(digits)) return false;
  let sum = 0;
  for (let index = 0; index < 10; index += 1) {
    sum += (10 - index) * (digits[index] === 'X' ? 10 : Number(digits[index]));
  }
  return sum % 11 === 0;
}

function isIsbn13(text: string): boolean {
  const digits = text.replaceAll(/[ -]/g, '');
  if (!/^\d{13}$/.test(digits)) return false;
  let sum = 0;
  for (let index = 0; index < 13; index += 1) sum += (index % 2 === 0 ? 1 : 3) * Number(digits[index]);
  return sum % 10 === 0;
}

const FORMATS: Readonly<Record<string, Test>> = {
  bsonobjectid: matches(/^[0-9a-fA-F]{24}$/),
  uri: isUri,
  email: matches(/^[^\s@<>()[\],;:"]+@[^\s@<>()[\],;:"]+$/),
  hostname: isHostname,
  ipv4: (text) => isIP(text) === 4,
  ipv6: (text) => isIP(text) === 6,
  cidr: isCidr,
  mac: matches(
    /^(?:[0-9a-fA-F]{2}([:-])(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}|(?:[0-9a-fA-F]{4}\.){2}[0-9a-fA-F]{4})$/,
  ),
  uuid: matches(new RegExp(`^${UUID}[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$`, 'i')),
  uuid3: matches(new RegExp(`^${UUID}3[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$`, 'i')),
  uuid4: matches(new RegExp(`^${UUID}4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$`, 'i')),
  uuid5: matches(new RegExp(`^${UUID}5[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$`, 'i')),
  isbn: (text) => isIsbn10(text) || isIsbn13(text),
  isbn10: isIsbn10,
  isbn13: isIsbn13,
  creditcard: hasLuhnSum,
  ssn: matches(/^\d{3}[- ]?\d{2}[- ]?\d{4}$/),
  hexcolor: matches(/^#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})$/),
  rgbcolor: matches(
    /^rgb\(\s*(?:\d{1,2}|1\d{2}|2[0-4]\d|25[0-5])(?:\s*,\s*(?:\d{1,2}|1\d{2}|2[0-4]\d|25[0-5])){2}\s*\)$/,
  ),
  byte: (text) => firstBadBase64(text) < 0,
  password: () => true,
  date: isDate,
  duration: (text) => text.length <= LONGEST && (GO_DURATION.test(text) || NAMED_DURATION.test(text)),
  'date-time': isDateTime,
  datetime: isDateTime,
  'k8s-short-name': (text) => dnsLabel(text).length === 0,
  'k8s-long-name': (text) => dnsSubdomain(text).length === 0,
};

/** True for whatever the format does not refuse. */
export function hasFormat(format: string, text: string): boolean {
  const test = Object.hasOwn(FORMATS, format) ? FORMATS[format] : undefined;
  return test === undefined || test(text);
}
