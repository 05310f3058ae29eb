import { createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Random } from '../../lib/random.ts';
import {
  formatJoinToken,
  JoinTokenError,
  NODES_GROUP,
  nodeUser,
  parseJoinToken,
  verifyCa,
} from '../../wire/join.ts';
import {
  type CertificateRequest,
  type KeyAndCertificate,
  makeCertificate,
  readPrivateKey,
  readPublicKey,
} from './certificates.ts';
import { kubeconfig } from './kubeconfig.ts';
import { readIfThere, writePrivate } from './private-files.ts';

const DAY = 86_400_000;
const CA_NAME = 'copepod-ca';
const CA_YEARS = 100;
const LEAF_YEARS = 10;
/** A certificate with less than this left is made anew at start. */
export const RENEW_BEFORE_DAYS = 365;
/** No certificate expires ten years after a clock that stands at 1970: never count from before this. */
const EARLIEST_NOW = Date.UTC(2026, 0, 1);

export interface IdentityOptions {
  /** `<data>`: keys go to `<data>/tls`, tokens to `<data>/token` and `<data>/dashboard-token`. */
  dataDir: string;
  clock: Clock;
  random: Random;
  logger: Logger;
  /** IP addresses and DNS names that the serving certificate must cover besides the fixed ones (node IPs, --tls-san). */
  addresses: readonly string[];
  /** First address of the service CIDR: `kubernetes.default`. */
  serviceIP: string;
  clusterDomain: string;
  /** --token; the full form must pin this CA. Absent: the one of `<data>/token`, made on first start. */
  token?: string | undefined;
}

/**
 * The keys, certificates and tokens of this cluster. Files are made on first start and read afterwards; each is replaced
 * as a whole. Layout: tls/ca.{crt,key}, tls/server.{crt,key}, tls/admin.{crt,key}, tls/service-account.key, token,
 * dashboard-token, admin.kubeconfig; all 0600.
 */
export class Identity {
  private readonly options: IdentityOptions;
  private ca: KeyAndCertificate = { key: '', certificate: '' };
  private server: KeyAndCertificate = { key: '', certificate: '' };
  private adminPair: KeyAndCertificate = { key: '', certificate: '' };
  private accountKey = '';
  private join: { secret: string; token: string } = { secret: '', token: '' };
  private dashboard = '';

  constructor(options: IdentityOptions) {
    this.options = options;
  }

  /** Reads or makes everything. Throws JoinTokenError when --token pins another CA. */
  start(): void {
    this.ca = this.loadAuthority();
    this.server = this.loadLeaf('server', {
      commonName: 'copepod',
      usage: 'server',
      alternativeNames: this.servingNames(),
    });
    this.adminPair = this.loadLeaf('admin', {
      commonName: 'system:admin',
      organizations: ['system:masters'],
      usage: 'client',
    });
    this.accountKey = this.loadText('tls/service-account.key', () => newKey().key);
    this.join = this.loadJoinToken();
    this.dashboard = this.loadText('dashboard-token', () => this.newSecret()).trim();
  }

  /** Makes a new serving certificate when the present one lacks an address, or ends soon. True when it did. */
  cover(addresses: readonly string[]): boolean {
    const alternativeNames = [...new Set([...this.servingNames(), ...addresses])];
    const { key, certificate } = this.server;
    if (this.stillGood(certificate, key, alternativeNames)) return false;
    this.server = this.loadLeaf('server', { commonName: 'copepod', usage: 'server', alternativeNames });
    return true;
  }

  get caPem(): string {
    return this.ca.certificate;
  }
  get serving(): KeyAndCertificate {
    return this.server;
  }
  get admin(): KeyAndCertificate {
    return this.adminPair;
  }
  /** PEM of the EC P-256 key that signs tokens of service accounts. */
  get serviceAccountKey(): string {
    return this.accountKey;
  }
  get joinToken(): string {
    return this.join.token;
  }
  get joinSecret(): string {
    return this.join.secret;
  }
  /** Bearer token of an administrator, for the dashboard's log-in. */
  get dashboardToken(): string {
    return this.dashboard;
  }

  /** The administrator's kubeconfig for the server's URL; also kept as `<data>/admin.kubeconfig`. */
  writeKubeconfig(server: string, path?: string, mode = 0o600): string {
    const text = kubeconfig({ server, caPem: this.caPem, admin: this.admin });
    const own = join(this.options.dataDir, 'admin.kubeconfig');
    if (readIfThere(own) !== text) writePrivate(own, text);
    if (path !== undefined && path !== own) writePrivate(path, text, mode);
    return own;
  }

  /** The certificate of a node for its P-256 public key (SPKI PEM). Throws a sentence when the key is no such key. */
  issueNodeCertificate(nodeName: string, publicKeyPem: string): string {
    return makeCertificate(
      {
        commonName: nodeUser(nodeName),
        organizations: [NODES_GROUP],
        usage: 'client',
        publicKey: readPublicKey(publicKeyPem),
        notAfter: this.now() + LEAF_YEARS * 365 * DAY,
        serial: this.options.random.bytes(16),
      },
      { commonName: CA_NAME, key: readPrivateKey(this.ca.key) },
    );
  }

  /** A certificate of the cluster's CA; it does not outlive the CA. */
  issueCertificate(request: Omit<CertificateRequest, 'serial'>): string {
    const end = Date.parse(new X509Certificate(this.ca.certificate).validTo);
    const lifetime = Math.max(0, request.notAfter - this.options.clock.now());
    return makeCertificate(
      {
        ...request,
        notAfter: Math.min(end, this.now() + lifetime),
        serial: this.options.random.bytes(16),
      },
      { commonName: CA_NAME, key: readPrivateKey(this.ca.key) },
    );
  }

  private now(): number {
    return Math.max(this.options.clock.now(), EARLIEST_NOW);
  }

  private path(name: string): string {
    return join(this.options.dataDir, name);
  }

  private newSecret(): string {
    return this.options.random.bytes(16).toString('hex');
  }

  private servingNames(): string[] {
    const { clusterDomain, serviceIP, addresses } = this.options;
    const service = ['kubernetes', 'kubernetes.default', 'kubernetes.default.svc'];
    return [
      ...new Set([
        'localhost',
        '127.0.0.1',
        '::1',
        serviceIP,
        ...service,
        `kubernetes.default.svc.${clusterDomain}`,
        ...addresses,
      ]),
    ];
  }

  private loadText(name: string, make: () => string): string {
    const found = readIfThere(this.path(name));
    if (found !== undefined && found.trim() !== '') return found;
    const made = make();
    writePrivate(this.path(name), made.endsWith('\n') ? made : `${made}\n`);
    return made;
  }

  private loadAuthority(): KeyAndCertificate {
    const key = readIfThere(this.path('tls/ca.key'));
    const certificate = readIfThere(this.path('tls/ca.crt'));
    if (key !== undefined && certificate !== undefined) return { key, certificate };
    // The key without its certificate is a first start that was cut off: nobody has seen that CA yet.
    if (certificate !== undefined) {
      throw new Error(
        `${this.path('tls/ca.key')} is missing, but ${this.path('tls/ca.crt')} is there: restore it`,
      );
    }
    const pair = newKey();
    const made = makeCertificate(
      {
        commonName: CA_NAME,
        usage: 'authority',
        publicKey: createPublicKey(pair.key),
        notAfter: this.now() + CA_YEARS * 365 * DAY,
        serial: this.options.random.bytes(16),
      },
      { commonName: CA_NAME, key: readPrivateKey(pair.key) },
    );
    writePrivate(this.path('tls/ca.key'), pair.key);
    writePrivate(this.path('tls/ca.crt'), made);
    this.options.logger.info({ path: this.path('tls/ca.crt') }, 'made the certificate authority');
    return { key: pair.key, certificate: made };
  }

  private loadLeaf(
    name: string,
    request: {
      commonName: string;
      organizations?: string[];
      usage: 'server' | 'client';
      alternativeNames?: string[];
    },
  ): KeyAndCertificate {
    const key = readIfThere(this.path(`tls/${name}.key`));
    const certificate = readIfThere(this.path(`tls/${name}.crt`));
    if (key && certificate && this.stillGood(certificate, key, request.alternativeNames ?? [])) {
      return { key, certificate };
    }
    const pair = newKey();
    const made = makeCertificate(
      {
        ...request,
        publicKey: createPublicKey(pair.key),
        notAfter: this.now() + LEAF_YEARS * 365 * DAY,
        serial: this.options.random.bytes(16),
      },
      { commonName: CA_NAME, key: readPrivateKey(this.ca.key) },
    );
    writePrivate(this.path(`tls/${name}.key`), pair.key);
    writePrivate(this.path(`tls/${name}.crt`), made);
    return { key: pair.key, certificate: made };
  }

  private stillGood(pem: string, key: string, names: readonly string[]): boolean {
    try {
      const certificate = new X509Certificate(pem);
      const left = Date.parse(certificate.validTo) - this.options.clock.now();
      const covered = (certificate.subjectAltName ?? '').split(', ');
      return (
        left > RENEW_BEFORE_DAYS * DAY &&
        certificate.checkPrivateKey(readPrivateKey(key)) &&
        certificate.verify(createPublicKey(this.ca.certificate)) &&
        names.every(
          (name) => covered.includes(`DNS:${name}`) || covered.some((entry) => isAddress(entry, name)),
        )
      );
    } catch {
      return false;
    }
  }

  private loadJoinToken(): { secret: string; token: string } {
    const given = this.options.token;
    if (given === undefined || given === '') {
      const text = this.loadText('token', () => formatJoinToken(this.caPem, this.newSecret())).trim();
      const parsed = parseJoinToken(text);
      return { secret: parsed.secret, token: formatJoinToken(this.caPem, parsed.secret, parsed.user) };
    }
    const parsed = parseJoinToken(given);
    if (!verifyCa(parsed, this.caPem)) {
      throw new JoinTokenError(
        '--token pins another CA than the one of this data directory; give its secret only',
      );
    }
    const token = formatJoinToken(this.caPem, parsed.secret, parsed.user);
    if (readIfThere(this.path('token'))?.trim() !== token) writePrivate(this.path('token'), `${token}\n`);
    return { secret: parsed.secret, token };
  }
}

/** Node writes `IP Address:192.0.2.1` and IPv6 in its own, uncompressed upper-case form. */
function isAddress(entry: string, name: string): boolean {
  if (!entry.startsWith('IP Address:')) return false;
  const address = entry.slice('IP Address:'.length);
  return address === name || (name.includes(':') && expand(address) === expand(name));
}

function expand(address: string): string {
  if (!address.includes(':')) return address;
  const [left = '', right] = address.toLowerCase().split('::');
  const head = left === '' ? [] : left.split(':');
  const tail = right === undefined || right === '' ? [] : right.split(':');
  const middle =
    right === undefined ? [] : new Array<string>(Math.max(0, 8 - head.length - tail.length)).fill('0');
  return [...head, ...middle, ...tail].map((part) => Number.parseInt(part, 16).toString(16)).join(':');
}

function newKey(): { key: string } {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
}
