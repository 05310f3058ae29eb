// IP addresses and networks, as fields hold them.
import { isIP } from 'node:net';

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
