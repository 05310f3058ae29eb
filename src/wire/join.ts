import { createHash, timingSafeEqual } from 'node:crypto';

/**
 * How an agent becomes a node. All of it is HTTPS on the API port, before MQTT is spoken:
 *
 *   1. `GET /cacerts` without trusting the server yet: the CA as PEM. `verifyCa` compares it with the token's pin;
 *      from here on the agent trusts this CA and nothing else.
 *   2. The agent makes an EC P-256 key pair, and keeps the private key (0600).
 *   3. `POST /copepod/v1/join` with a JoinRequest, `authorization: joinAuthorization(token)`; answered with a
 *      JoinResponse (200), or with a metav1.Status whose `message` is fit for the user (JOIN_REFUSALS).
 *   4. Everything else (MQTT, streams, tokens of service accounts) uses the client certificate.
 *
 * Renewal: the same POST with the node's still valid client certificate instead of the token, for the same node name.
 * A certificate is asked for by its bare public key, not by PKCS#10: the TLS handshake that follows proves possession
 * of the private key (a certificate for a key that one does not hold is useless), the server decides subject and
 * extensions anyway, and the agent is spared an X.509 library (23 MB of its 64).
 */
export const CA_PATH = '/cacerts';
export const JOIN_PATH = '/copepod/v1/join';
/** MQTT as WebSocket (subprotocol `mqtt`), authenticated by the node's client certificate. */
export const MQTT_PATH = '/mqtt';
/** Where an agent dials in for a stream that the server asked for (StreamRequest): this and the stream's id. */
export const STREAMS_PATH = '/copepod/v1/streams/';

export const NODES_GROUP = 'system:nodes';
export const NODE_USER_PREFIX = 'system:node:';

/** The user and group that the node's certificate carries: CN=system:node:<name>, O=system:nodes. */
export function nodeUser(nodeName: string): string {
  return `${NODE_USER_PREFIX}${nodeName}`;
}

/** The node that a user name stands for, or undefined when it is no node's. */
export function nodeNameOf(userName: string): string | undefined {
  return userName.startsWith(NODE_USER_PREFIX) && userName.length > NODE_USER_PREFIX.length
    ? userName.slice(NODE_USER_PREFIX.length)
    : undefined;
}

export interface JoinToken {
  /** SHA-256 of the bytes that `GET /cacerts` answers, in hex; absent in the short form, which pins nothing. */
  caHash?: string;
  user: string;
  secret: string;
}

export class JoinTokenError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'JoinTokenError';
  }
}

const FULL = /^K10([0-9a-f]{64})::([^:\s]+):(\S+)$/;

/**
 * Reads `K10<sha256 of the CA>::<user>:<secret>`. A bare secret (what a user gave the server as `--token`) is accepted
 * too, as by k3s: user is then `server` and nothing is pinned, which the agent has to warn about.
 */
export function parseJoinToken(text: string): JoinToken {
  const token = text.trim();
  if (token === '') throw new JoinTokenError('the token is empty');
  const full = FULL.exec(token);
  if (full) return { caHash: full[1] as string, user: full[2] as string, secret: full[3] as string };
  if (token.startsWith('K10') || /[\s:]/.test(token)) {
    throw new JoinTokenError(
      'the token is malformed: expected K10<64 hex digits>::<user>:<secret>, as `copepod token` prints it on the server',
    );
  }
  return { user: JOIN_USER, secret: token };
}

/** The user part of tokens that the server makes; it has no meaning besides. */
export const JOIN_USER = 'server';

/** The inverse of parseJoinToken for a CA as PEM. */
export function formatJoinToken(caPem: string, secret: string, user = JOIN_USER): string {
  return `K10${caHash(caPem)}::${user}:${secret}`;
}

/** SHA-256 in hex over the PEM's bytes exactly as `GET /cacerts` answers them. */
export function caHash(caPem: string | Uint8Array): string {
  return createHash('sha256').update(caPem).digest('hex');
}

/** Is this the CA that the token pins? A token without a pin accepts any. */
export function verifyCa(token: JoinToken, caPem: string | Uint8Array): boolean {
  if (token.caHash === undefined) return true;
  return timingSafeEqual(Buffer.from(caHash(caPem)), Buffer.from(token.caHash));
}

/** Value of the Authorization header of a join request. */
export function joinAuthorization(token: JoinToken): string {
  return `Basic ${Buffer.from(`${token.user}:${token.secret}`).toString('base64')}`;
}

export interface JoinRequest {
  v: 1;
  nodeName: string;
  /**
   * /etc/machine-id or what stands for it: tells one board from another of the same name. Any non-empty text up to
   * 128 characters that stays the same over reboots; also report it as nodeInfo.machineID.
   */
  machineId: string;
  /** SPKI as PEM (`-----BEGIN PUBLIC KEY-----`) of an EC P-256 key. */
  publicKey: string;
}

export interface JoinResponse {
  v: 1;
  nodeName: string;
  /** PEM: CN=system:node:<name>, O=system:nodes. */
  certificate: string;
  /** PEM; the same bytes as `GET /cacerts`. */
  ca: string;
  /** Renew (same request, by certificate) when less than this many days are left. */
  renewBeforeDays: number;
  /** Where the broker is, when it is not this server's own (`--mqtt-url`): an mqtt(s):// URL. Absent: MQTT_PATH here. */
  mqttUrl?: string;
}

/** `reason` of the Status that refuses a join, and what it means. The message says it to the user. */
export const JOIN_REFUSALS = {
  /** 401: the token is not (or no longer) the server's. Asking again does not help; stop with the message. */
  badToken: 'Unauthorized',
  /** 409: another machine holds this node name. Does not mend itself; stop with the message. */
  nameHeld: 'Conflict',
  /** 400: node name, machine id or key are malformed. */
  malformed: 'BadRequest',
} as const;

/** `details.causes[0].reason` of the 401 that a node's certificate gets when it is no longer good. */
export const NODE_REFUSALS = {
  /** The Node was deleted (or this certificate taken off it) while this server ran. */
  removed: 'NodeRemoved',
  /** There is no such Node, or it lists other certificates: a server restored from a backup, a board that joined anew. */
  unknown: 'NodeUnknown',
} as const;

const NODE_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** Checks what a stranger sent. Returns the request, or a sentence that says what is wrong. */
export function parseJoinRequest(body: unknown): JoinRequest | string {
  if (typeof body !== 'object' || body === null) return 'the join request is not an object';
  const { v, nodeName, machineId, publicKey } = body as Record<string, unknown>;
  if (v !== 1)
    return `join request version ${JSON.stringify(v)} is not known here: server and agent differ too much`;
  if (typeof nodeName !== 'string' || nodeName.length > 253 || !NODE_NAME.test(nodeName)) {
    return 'nodeName must be a lower-case DNS name of at most 253 characters';
  }
  if (typeof machineId !== 'string' || machineId === '' || machineId.length > 128) {
    return 'machineId must be a text of 1 to 128 characters';
  }
  if (typeof publicKey !== 'string' || publicKey.length > 1000) return 'publicKey must be a PEM text';
  return { v: 1, nodeName, machineId, publicKey };
}
