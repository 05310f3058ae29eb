// IP addresses and networks, as fields hold them.
import { isIP } from 'node:net';
import type { FieldError } from '../../../api/errors.ts';
import { invalidValue } from '../../../api/validation.ts';

export const IP_RULE = 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)';
export const CIDR_RULE = 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)';

export function isIp(text: string): boolean {
  return isIP(text) !== 0 && !text.includes('%');
}

export function isIpv4(text: string): boolean {
  return isIP(text) === 4;
}

export function isCidr(text: string): boolean {
  const slash = text.lastIndexOf('/');
  if (slash < 0) return false;
  const address = text.slice(0, slash);
  const bits = text.slice(slash + 1);
  const longest = isIP(address) === 4 ? 32 : isIP(address) === 6 ? 128 : -1;
  return /^(0|[1-9]\d{0,2})$/.test(bits) && Number(bits) <= longest;
}

/** Addresses at which no pod of another node can be reached. */
export function validateSpecialIp(address: string, field: string): FieldError[] {
  if (!isIp(address)) return [invalidValue(field, address, 'must be a valid IP address')];
  const text = address.toLowerCase();
  if (/^0+(\.0+){3}$/.test(text) || text === '::') {
    return [invalidValue(field, address, `may not be unspecified (${address})`)];
  }
  if (text.startsWith('127.') || text === '::1') {
    return [invalidValue(field, address, 'may not be in the loopback range (127.0.0.0/8, ::1/128)')];
  }
  if (text.startsWith('169.254.') || /^fe[89ab]/.test(text)) {
    return [invalidValue(field, address, 'may not be in the link-local range (169.254.0.0/16, fe80::/10)')];
  }
  if (text.startsWith('224.0.0.') || /^ff02:/.test(text)) {
    return [
      invalidValue(field, address, 'may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)'),
    ];
  }
  return [];
}
