import { StatusError } from '../../api/errors.ts';
import type { Logger } from '../../lib/logger.ts';
import { type JoinResponse, parseJoinRequest } from '../../wire/join.ts';
import type { UserInfo } from '../registry/port.ts';
import { type BootstrapTokens, JOIN_GROUP } from './bootstrap-tokens.ts';
import { type Identity, RENEW_BEFORE_DAYS } from './identity.ts';
import { nodeOfUser } from './node-authorizer.ts';
import type { NodeCertificates } from './node-certificates.ts';
import { sameText } from './text.ts';

/** The server's half of src/wire/join.ts. */
export class Joining {
  private readonly identity: Identity;
  private readonly certificates: Pick<NodeCertificates, 'holderOf' | 'issued'>;
  private readonly logger: Logger;
  private readonly mqttUrl: string | undefined;
  private readonly bootstrap: BootstrapTokens | undefined;

  constructor(options: {
    identity: Identity;
    certificates: Pick<NodeCertificates, 'holderOf' | 'issued'>;
    logger: Logger;
    /** --mqtt-url */
    mqttUrl?: string | undefined;
    /** Tokens with an end, besides the one of the server's file. */
    bootstrap?: BootstrapTokens | undefined;
  }) {
    this.identity = options.identity;
    this.certificates = options.certificates;
    this.logger = options.logger;
    this.mqttUrl = options.mqttUrl;
    this.bootstrap = options.bootstrap;
  }

  /** `user` is who the connection's client certificate says, if it has one. Throws StatusError (JOIN_REFUSALS). */
  join(
    body: unknown,
    authorization: string | undefined,
    user: UserInfo | undefined,
    from: string,
  ): JoinResponse {
    const request = parseJoinRequest(body);
    if (typeof request === 'string') throw new StatusError('BadRequest', 400, request);
    const { nodeName, machineId } = request;
    const renewing = user !== undefined && nodeOfUser(user) === nodeName;
    if (!renewing && !this.tokenIsGood(authorization)) {
      this.logger.warn({ nodeName, from }, 'refused a join: the token is not ours');
      throw new StatusError(
        'Unauthorized',
        401,
        'the join token is not (or no longer) valid for this server: take the present one from `copepod token` there',
      );
    }
    const holder = this.certificates.holderOf(nodeName);
    if (holder !== undefined && holder !== machineId) {
      this.logger.warn(
        { nodeName, from, machineId, holder },
        'refused a join: the name is held by another machine',
      );
      throw new StatusError(
        'Conflict',
        409,
        `the node name "${nodeName}" is held by another machine (machine id ${holder}, this one is ${machineId}): choose another with --node-name, or, if that machine is gone for good, free it with: kubectl delete node ${nodeName}`,
        { name: nodeName, kind: 'nodes' },
      );
    }
    let certificate: string;
    try {
      certificate = this.identity.issueNodeCertificate(nodeName, request.publicKey);
    } catch (error) {
      throw new StatusError('BadRequest', 400, (error as Error).message);
    }
    this.certificates.issued(nodeName, certificate, { machineId, renewing });
    this.logger.info({ nodeName, from, renewing }, 'issued a node certificate');
    return {
      v: 1,
      nodeName,
      certificate,
      ca: this.identity.caPem,
      renewBeforeDays: RENEW_BEFORE_DAYS,
      ...(this.mqttUrl === undefined ? {} : { mqttUrl: this.mqttUrl }),
    };
  }

  private tokenIsGood(authorization: string | undefined): boolean {
    const encoded = /^Basic\s+(\S+)$/i.exec(authorization ?? '')?.[1];
    if (encoded === undefined) return false;
    const text = Buffer.from(encoded, 'base64').toString();
    const secret = text.slice(text.indexOf(':') + 1);
    if (!text.includes(':')) return false;
    if (sameText(secret, this.identity.joinSecret)) return true;
    return this.bootstrap?.userOf(secret)?.groups.includes(JOIN_GROUP) === true;
  }
}
