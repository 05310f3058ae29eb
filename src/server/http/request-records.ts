import type { IncomingMessage } from 'node:http';
import type { Catalogue } from '../../api/catalogue.ts';
import type { StatusError } from '../../api/errors.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { UserInfo } from '../registry/port.ts';
import type { Answering } from './answer.ts';
import { AuditedBodies, type AuditedRequest, type AuditRule } from './audit-event.ts';
import { RequestMetrics } from './metrics.ts';
import type { Upgrade } from './ports.ts';
import { processGauges } from './process-gauges.ts';
import type { RequestInfo } from './request-info.ts';
import { labelsOf } from './request-labels.ts';

export interface AuditSink {
  /** How a request is told of; undefined: not at all. */
  ruleFor(user: UserInfo | undefined, info: RequestInfo | undefined): AuditRule | undefined;
  /** Returns at once. */
  log(audited: AuditedRequest): void;
  readonly counts: { written: number; lost: number };
}

/** What is to be told of a request, as it becomes known. */
export interface Told {
  readonly method: string;
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly receivedAt: number;
  /** On the monotonic clock. */
  readonly begun: number;
  info?: RequestInfo | undefined;
  /** Whose credentials they are. */
  user?: UserInfo | undefined;
  /** Whom they act for. */
  effective?: UserInfo | undefined;
  error?: StatusError | undefined;
  /** What admission wants to stand in the audit event. */
  readonly annotations: Map<string, string>;
  /** Set by `received`; both absent: the audit log does not tell of it. */
  rule?: AuditRule | undefined;
  bodies?: AuditedBodies | undefined;
}

/** What is kept of requests: metrics, the audit log, the debug log. */
export class RequestRecords {
  private readonly counters = new RequestMetrics();
  private readonly catalogue: Catalogue;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly audit: AuditSink | undefined;

  constructor(options: {
    catalogue: Catalogue;
    clock: Clock;
    logger: Logger;
    audit?: AuditSink | undefined;
  }) {
    this.catalogue = options.catalogue;
    this.clock = options.clock;
    this.logger = options.logger;
    this.audit = options.audit;
  }

  /** A request is in work; returns what ends that. */
  begin(method: string): () => void {
    return this.counters.begin(method);
  }

  /** It is known who asks (or that nobody does) and for what. */
  received(told: Told, request: IncomingMessage): void {
    const rule = this.audit?.ruleFor(told.user, told.info);
    if (!rule) return;
    told.rule = rule;
    // Other paths than those of resources have no objects.
    if (told.info?.kind === 'resource') told.bodies = new AuditedBodies(rule);
    this.log(told, request, 0, 'RequestReceived');
  }

  /** Refused before it was known whose request it is. */
  private unknown(told: Told, request: IncomingMessage): void {
    if (told.error && !told.rule) this.received(told, request);
  }

  /** Of a request that was answered, or whose stream has begun; that is told of again at its end. */
  tell(told: Told, { request, response, query }: Answering): void {
    const { clock } = this;
    this.unknown(told, request);
    const { method, id, info, begun } = told;
    const labels = labelsOf(method, info, this.catalogue, request.headers['content-type']);
    const streams = info?.kind === 'resource' && info.verb === 'watch' && told.error === undefined;
    const end = (): void => {
      const { statusCode } = response;
      const seconds = (clock.monotonic() - begun) / 1000;
      this.counters.count(labels, statusCode, query.has('dryRun'), streams ? undefined : seconds);
      this.log(told, request, statusCode, 'ResponseComplete');
      this.logger.debug({ method, url: request.url, code: statusCode, requestId: id }, 'request');
    };
    if (!streams || response.closed) return end();
    const closed = this.counters.open(labels);
    this.log(told, request, response.statusCode, 'ResponseStarted');
    response.once('close', () => {
      closed();
      end();
    });
  }

  /** Of an upgrade that was let through: told of again when its connection ends. */
  upgraded(told: Told, { request, socket }: Upgrade): void {
    this.log(told, request, 101, 'ResponseStarted');
    const ended = (): void => this.log(told, request, 101, 'ResponseComplete');
    if (socket.destroyed) ended();
    else socket.once('close', ended);
  }

  /** Of an upgrade that was answered with `told.error`. */
  refused(told: Told, { request }: Upgrade): void {
    this.unknown(told, request);
    this.log(told, request, told.error?.code ?? 500, 'ResponseComplete');
  }

  /** Prometheus' text. */
  metrics(gitVersion: string, objects: Iterable<readonly [resource: string, count: number]>): string {
    return this.counters.text({
      ...processGauges(this.clock),
      gitVersion,
      objects,
      audit: this.audit?.counts,
    });
  }

  private log(told: Told, request: IncomingMessage, code: number, stage: AuditedRequest['stage']): void {
    const { id, method, info, user, effective, error, receivedAt, annotations, rule, bodies } = told;
    if (!rule) return;
    this.audit?.log({
      id,
      method,
      info,
      user,
      effective,
      request,
      code,
      reason: error?.reason,
      message: error?.status.message,
      receivedAt,
      annotations,
      now: this.clock.now(),
      stage,
      rule,
      bodies,
    });
  }
}
