import { isIP, isIPv4 } from 'node:net';

/** How a setting's text becomes its value. */
export interface ValueType<T> {
  /** What is allowed, to be read after "expected ": `a port, 1 to 65535`. */
  readonly expected: string;
  /** The placeholder in --help; absent for switches, which take no value. */
  readonly placeholder?: string;
  /** Where only some words are allowed: them, to tell which one was meant. */
  readonly words?: readonly string[];
  /** Undefined: not allowed. */
  parse(text: string): T | undefined;
}

export interface NodeLabel {
  key: string;
  value: string;
}

export interface NodeTaint {
  key: string;
  value?: string;
  effect: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute';
}

const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const isDnsName = (text: string): boolean =>
  text.length <= 253 && text.split('.').every((label) => DNS_LABEL.test(label));

/** Kubernetes' qualified name: `name` or `prefix.example/name`. */
function isQualifiedName(text: string): boolean {
  const parts = text.split('/');
  const name = parts.pop() ?? '';
  if (!/^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/.test(name)) return false;
  return parts.length === 0 || (parts.length === 1 && isDnsName(parts[0] ?? ''));
}

const isLabelValue = (text: string): boolean =>
  /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/.test(text);

export const string: ValueType<string> = {
  expected: 'a text that is not empty',
  placeholder: 'TEXT',
  parse: (text) => (text === '' ? undefined : text),
};

export const boolean: ValueType<boolean> = {
  expected: 'true or false',
  parse: (text) => ({ true: true, false: false })[text],
};

export const path: ValueType<string> = {
  expected: 'an absolute path',
  placeholder: 'PATH',
  parse: (text) => (text.startsWith('/') ? text.replace(/(.)\/+$/, '$1') : undefined),
};

const VERIFICATION_POLICIES = ['NeverVerify', 'NeverVerifyPreloadedImages', 'AlwaysVerify'] as const;

const portNumber = (text: string, lowest: number): number | undefined => {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : -1;
  return port >= lowest && port <= 65535 ? port : undefined;
};

export const port: ValueType<number> = {
  expected: 'a port, 1 to 65535',
  placeholder: 'PORT',
  parse: (text) => portNumber(text, 1),
};

export const portOrOff: ValueType<number> = {
  expected: 'a port, 1 to 65535, or 0 to switch it off',
  placeholder: 'PORT',
  parse: (text) => portNumber(text, 0),
};

/** Kept as text, for it is shown; empty is off, as with kube-proxy's flag. */
export const addressAndPort: ValueType<string> = {
  expected: 'an address and a port such as 0.0.0.0:10256, or nothing to switch it off',
  placeholder: 'ADDRESS:PORT',
  parse: (text) => {
    if (text === '') return '';
    const [, bracketed, plain, port = ''] = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(text) ?? [];
    return isIP(bracketed ?? plain ?? '') !== 0 && portNumber(port, 1) !== undefined ? text : undefined;
  },
};

export const count: ValueType<number> = {
  expected: 'a whole number, 0 or more',
  placeholder: 'N',
  parse: (text) => (/^\d{1,9}$/.test(text) ? Number(text) : undefined),
};

export const rate: ValueType<number> = {
  expected: 'a number, 0 or more',
  placeholder: 'NUMBER',
  parse: (text) => (/^\d{1,6}(\.\d{1,6})?$/.test(text) ? Number(text) : undefined),
};

export const percent: ValueType<number> = {
  expected: 'a percentage, 0 to 100',
  placeholder: 'PERCENT',
  parse: (text) => (/^\d{1,3}$/.test(text) && Number(text) <= 100 ? Number(text) : undefined),
};

export const parallel: ValueType<number> = {
  expected: 'a whole number, 1 to 100',
  placeholder: 'N',
  parse: (text) => (/^[1-9]\d?$|^100$/.test(text) ? Number(text) : undefined),
};

export const verificationPolicy: ValueType<(typeof VERIFICATION_POLICIES)[number]> = {
  expected: 'NeverVerify, NeverVerifyPreloadedImages or AlwaysVerify',
  placeholder: 'POLICY',
  parse: (text) => VERIFICATION_POLICIES.find((policy) => policy === text),
};

export const ip: ValueType<string> = {
  expected: 'an IP address',
  placeholder: 'IP',
  parse: (text) => (isIP(text) > 0 ? text : undefined),
};

export const ipv4: ValueType<string> = {
  expected: 'an IPv4 address',
  placeholder: 'IP',
  parse: (text) => (isIPv4(text) ? text : undefined),
};

/** An IPv4 network. Pods and Services are IPv4 so far. */
export const cidr: ValueType<string> = {
  expected: 'an IPv4 network such as 10.42.0.0/16, its host bits zero',
  placeholder: 'CIDR',
  parse: (text) => {
    const [address, bits, ...rest] = text.split('/');
    if (rest.length > 0 || !address || !isIPv4(address) || !/^\d{1,2}$/.test(bits ?? '')) return undefined;
    const length = Number(bits);
    if (length < 1 || length > 30) return undefined;
    return ipv4Number(address) % 2 ** (32 - length) === 0 ? text : undefined;
  },
};

export const fileMode: ValueType<number> = {
  expected: 'a file mode in octal such as 0600',
  placeholder: 'MODE',
  parse: (text) => (/^0?[0-7]{3}$/.test(text) ? Number.parseInt(text, 8) : undefined),
};

export const dnsName: ValueType<string> = {
  expected: 'a lower-case DNS name',
  placeholder: 'NAME',
  parse: (text) => (isDnsName(text) ? text : undefined),
};

export const logLevel: ValueType<'debug' | 'info' | 'warn' | 'error'> = {
  expected: 'debug, info, warn or error',
  placeholder: 'LEVEL',
  parse: (text) => (['debug', 'info', 'warn', 'error'] as const).find((level) => level === text),
};

export const measured: ValueType<'off' | 'scores' | 'full'> = {
  expected: 'off, scores or full',
  placeholder: 'MODE',
  parse: (text) => (['off', 'scores', 'full'] as const).find((mode) => mode === text),
};

const PROXY_MODES = ['auto', 'nftables', 'userspace'] as const;

export const proxyMode: ValueType<(typeof PROXY_MODES)[number]> = {
  expected: 'auto, nftables or userspace',
  placeholder: 'MODE',
  words: PROXY_MODES,
  parse: (text) => PROXY_MODES.find((mode) => mode === text),
};

export const httpsUrl: ValueType<string> = {
  expected: 'a URL such as https://192.168.1.10:6443',
  placeholder: 'URL',
  parse: (text) => originOf(text, ['https:']),
};

export const mqttUrl: ValueType<string> = {
  expected: 'a URL of an MQTT broker: mqtt://, mqtts://, ws:// or wss://',
  placeholder: 'URL',
  parse: (text) => (originOf(text, ['mqtt:', 'mqtts:', 'ws:', 'wss:']) === undefined ? undefined : text),
};

/** A pod's network is made on this machine, so its engine has to be here too. */
export const dockerHost: ValueType<string> = {
  expected: "the Docker Engine's local socket, unix:///path",
  placeholder: 'unix:///PATH',
  parse: (text) => (/^unix:\/\/\/[^/]/.test(text) ? text : undefined),
};

/** As of the kubelet: a namespaced sysctl, or a prefix of such. */
export const sysctlPattern: ValueType<string> = {
  expected: 'a sysctl of kernel.sem, kernel.shm*, kernel.msg*, fs.mqueue.* or net.*',
  placeholder: 'SYSCTL',
  parse: (text) =>
    /^(kernel\.sem|(kernel\.(shm|msg)|fs\.mqueue\.|net\.)[a-z0-9_.-]*\*?)$/.test(text) ? text : undefined,
};

export const nodeLabel: ValueType<NodeLabel> = {
  expected: 'a label, key=value',
  placeholder: 'KEY=VALUE',
  parse: (text) => {
    const split = text.indexOf('=');
    if (split < 0) return undefined;
    const [key, value] = [text.slice(0, split), text.slice(split + 1)];
    return isQualifiedName(key) && isLabelValue(value) ? { key, value } : undefined;
  },
};

export const nodeTaint: ValueType<NodeTaint> = {
  expected: 'a taint, key=value:effect with NoSchedule, PreferNoSchedule or NoExecute',
  placeholder: 'KEY=VALUE:EFFECT',
  parse: (text) => {
    const match = /^([^=:]+)(?:=([^:]*))?:(NoSchedule|PreferNoSchedule|NoExecute)$/.exec(text);
    const [, key, value, effect] = match ?? [];
    if (!key || !isQualifiedName(key) || (value !== undefined && !isLabelValue(value))) return undefined;
    return { key, ...(value ? { value } : {}), effect: effect as NodeTaint['effect'] };
  },
};

export function ipv4Number(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

/** The first and the last address of a network, as numbers. */
export function cidrRange(network: string): [number, number] {
  const [address = '', bits = '32'] = network.split('/');
  const first = ipv4Number(address);
  return [first, first + 2 ** (32 - Number(bits)) - 1];
}

function originOf(text: string, protocols: readonly string[]): string | undefined {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return undefined;
  }
  return protocols.includes(url.protocol) && url.hostname !== '' ? text.replace(/\/+$/, '') : undefined;
}

export const DURATION_UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

const COMPONENTS = ['ingress', 'servicelb', 'local-storage', 'metrics', 'dashboard'] as const;

/** Under the names that k3s has for them, where it has one. */
export const component: ValueType<(typeof COMPONENTS)[number]> = {
  expected: `one of ${COMPONENTS.join(', ')}`,
  placeholder: 'COMPONENT',
  words: COMPONENTS,
  parse: (text) => COMPONENTS.find((name) => name === text),
};

/** In milliseconds; 0 is for ever. */
export const duration: ValueType<number> = {
  expected: 'a duration like 30m, 24h or 7d, or 0 for one without end',
  placeholder: 'DURATION',
  parse: (text) => {
    if (text === '0') return 0;
    const [, count = '', unit = ''] = /^([1-9]\d{0,8})([smhd])$/.exec(text) ?? [];
    return count === '' ? undefined : Number(count) * (DURATION_UNITS[unit] ?? 0) * 1000;
  },
};

/** Those that are off by default; all others of Kubernetes' defaults are always on. */
export const admissionPlugin: ValueType<'PodTolerationRestriction'> = {
  expected: 'PodTolerationRestriction',
  placeholder: 'PLUGIN',
  parse: (text) => (text === 'PodTolerationRestriction' ? text : undefined),
};
