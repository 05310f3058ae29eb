import { type IncomingMessage, type ClientRequest as OutgoingRequest, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Clock, Timer } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import { limitSilence } from '../../lib/silence.ts';
import { type Backends, type Endpoint, endpointKey } from './backends.ts';
import {
  type Asked,
  addTrailers,
  answerWith,
  beginAnswer,
  type ClientRequest,
  type ClientResponse,
  type Entrance,
  isHttp2,
  readRequest,
  redirectToTls,
} from './exchange.ts';
import { headerObject, headerPairs, requestHeaders, responseHeaders } from './headers.ts';
import { findRoute, type Route, type RouteTable } from './routes.ts';
import { joinSockets, upgradeHead } from './tunnel.ts';
import { NotConnected, neverSent, type Upstream } from './upstream.ts';

/** An endpoint that is leaving refuses; so may the next one, in the middle of a rollout. */
const MOST_ATTEMPTS = 3;
/** Requests under way; more are told to come back. Each holds buffers on a board of 1 GB. */
const MOST_UNDER_WAY = 1024;
const TIMEOUT_SECONDS = 60;
/** Silence in the middle of an answer: longer than any heartbeat of an event stream. */
const STREAM_IDLE_MS = 600_000;
/** An endpoint that ignores `Expect` would wait for a body that waits for it. */
const CONTINUE_AFTER_MS = 1_000;
const COMPLAIN_EVERY_MS = 10_000;
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

/** Hands requests on to the endpoints of their backends, and streams both ways. */
export class IngressProxy {
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly backends: Backends;
  private readonly upstream: Upstream;
  private readonly routes: () => RouteTable;
  /** Where a redirect to TLS leads. */
  private readonly tlsPort: number;
  private underWay = 0;
  private silentUntil = 0;
  private unsaid = 0;

  constructor(options: {
    clock: Clock;
    logger: Logger;
    backends: Backends;
    upstream: Upstream;
    routes: () => RouteTable;
    tlsPort: number;
  }) {
    this.clock = options.clock;
    this.logger = options.logger;
    this.backends = options.backends;
    this.upstream = options.upstream;
    this.routes = options.routes;
    this.tlsPort = options.tlsPort;
  }

  handle(
    request: ClientRequest,
    response: ClientResponse,
    entrance: Entrance,
    expectsContinue = false,
  ): void {
    const found = this.admit(request, response, entrance);
    if (found) new Forwarding(this.parts(found), request, response, { expectsContinue }).start();
  }

  /** `Connection: Upgrade`. Whoever is not answered with 101 gets an ordinary answer on the same connection, its last. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, entrance: Entrance): void {
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket as never);
    response.on('finish', () => socket.end());
    socket.on('error', () => socket.destroy());
    const found = this.admit(request, response, entrance);
    if (!found) return;
    // Its body would lie in `head`; nobody asks so, but a smuggler might.
    if (found.asked.body.kind === 'length' || found.asked.body.kind === 'chunked') {
      answerWith(response, 400);
      return;
    }
    const protocol = request.headers.upgrade ?? '';
    // HTTP/2 without TLS is not spoken here, and a client that offers it goes on without.
    const asksFor = /^\s*h2c\b/i.test(protocol) ? {} : { upgrade: { protocol, socket, head } };
    new Forwarding(this.parts(found), request, response, asksFor).start();
  }

  /** What it is and where it goes; undefined when it is already answered. */
  private admit(
    request: ClientRequest,
    response: ClientResponse,
    entrance: Entrance,
  ): { asked: Asked; route: Route; done: () => void } | undefined {
    request.on('error', () => {});
    response.on('error', () => {});
    const asked = readRequest(request, entrance);
    if ('refused' in asked) {
      // What follows on this connection may not be what it seems.
      answerWith(response, asked.refused, isHttp2(response) ? [] : ['Connection', 'close']);
      return undefined;
    }
    const route = findRoute(this.routes(), asked.host, asked.path);
    if (!route) answerWith(response, 404);
    else if (route.settings.sslRedirect && entrance.protocol === 'http' && this.tlsPort !== 0)
      redirectToTls(response, asked, this.tlsPort);
    else if (this.underWay >= MOST_UNDER_WAY) answerWith(response, 503, ['Retry-After', '1']);
    else {
      this.underWay += 1;
      let counted = true;
      const done = (): void => {
        if (counted) this.underWay -= 1;
        counted = false;
      };
      return { asked, route, done };
    }
    // A body that nobody wants is read away, within what the connection's limits allow.
    request.resume();
    return undefined;
  }

  private parts(found: { asked: Asked; route: Route; done: () => void }): ForwardingParts {
    const { clock, backends, upstream } = this;
    return { ...found, clock, backends, upstream, complain: (failure) => this.complain(failure) };
  }

  /** A log of every failed request could fill a disk. */
  private complain(failure: object): void {
    const now = this.clock.monotonic();
    if (now < this.silentUntil) {
      this.unsaid += 1;
      return;
    }
    this.logger.warn({ ...failure, moreSinceLastTime: this.unsaid }, 'an endpoint failed a request');
    this.silentUntil = now + COMPLAIN_EVERY_MS;
    this.unsaid = 0;
  }
}

interface ForwardingParts {
  asked: Asked;
  route: Route;
  /** Called once, when it is over. */
  done: () => void;
  clock: Clock;
  backends: Backends;
  upstream: Upstream;
  complain: (failure: object) => void;
}

interface ForwardingKind {
  expectsContinue?: boolean;
  upgrade?: { protocol: string; socket: Duplex; head: Buffer };
}

/** One request under way: its attempts, and then the answer's way back. */
class Forwarding {
  private readonly parts: ForwardingParts;
  private readonly request: ClientRequest;
  private readonly response: ClientResponse;
  private readonly kind: ForwardingKind;
  private endpoints: readonly Endpoint[] = [];
  private readonly tried = new Set<string>();
  private readonly replayable: boolean;
  private attempts = 0;
  private bodyBegun = false;
  private answered = false;
  private over = false;
  private call: OutgoingRequest | undefined;
  private continueTimer: Timer | undefined;

  constructor(
    parts: ForwardingParts,
    request: ClientRequest,
    response: ClientResponse,
    kind: ForwardingKind,
  ) {
    this.parts = parts;
    this.request = request;
    this.response = response;
    this.kind = kind;
    const { body } = parts.asked;
    this.replayable =
      IDEMPOTENT.has(request.method ?? '') &&
      (body.kind === 'none' || body.kind === 'empty') &&
      !kind.upgrade;
  }

  start(): void {
    this.response.on('close', () => this.end());
    this.attempt();
  }

  private attempt(): void {
    const { backends, route, asked, upstream } = this.parts;
    // Anew for each attempt: the board may just have learnt who is leaving.
    this.endpoints = backends.endpoints(route);
    const endpoint = backends.choose(this.endpoints, this.tried);
    if (!endpoint) {
      this.fail(this.endpoints.length === 0 ? 503 : 502);
      return;
    }
    this.attempts += 1;
    this.tried.add(endpointKey(endpoint));
    const release = backends.begin(endpoint);
    const { upgrade } = this.kind;
    const headers = requestHeaders(this.request.rawHeaders, asked.client, asked.body, upgrade?.protocol);
    if (this.kind.expectsContinue) headers.push('Expect', '100-continue');
    const call = upstream.open({
      endpoint,
      method: this.request.method ?? 'GET',
      target: asked.target,
      headers,
      tls: route.settings.backendTls ?? false,
      serverName: asked.host,
      replayable: this.replayable,
      timeoutMs: (route.settings.timeoutSeconds ?? TIMEOUT_SECONDS) * 1000,
    });
    this.call = call;
    call.on('close', release);
    call.on('timeout', () => {
      if (this.answered) this.abandon();
      else if (this.call === call) this.fail(504);
    });
    call.on('error', (error) => this.failed(call, endpoint, error));
    call.on('response', (answer) => this.relay(call, answer));
    call.on('upgrade', (answer, socket, head) => this.tunnel(call, answer, socket, head));
    call.on('continue', () => this.sayContinue());
    call.on('information', ({ statusCode, rawHeaders }) => {
      if (statusCode === 103 && !this.answered) this.hint(rawHeaders);
    });
    this.send(call);
  }

  /** The body flows once there is a connection: until then another endpoint may be asked instead. */
  private send(call: OutgoingRequest): void {
    const { body } = this.parts.asked;
    if (body.kind === 'none' || body.kind === 'empty') {
      call.end();
      return;
    }
    call.flushHeaders();
    const begin = (): void => {
      if (this.bodyBegun || this.over || call.destroyed) return;
      this.bodyBegun = true;
      this.request.pipe(call, { end: false });
      this.request.on('end', () => {
        const trailers = this.request.rawTrailers;
        if (trailers.length > 0 && body.kind === 'chunked') call.addTrailers(headerPairs(trailers));
        call.end();
      });
      if (this.kind.expectsContinue)
        this.continueTimer = this.parts.clock.after(CONTINUE_AFTER_MS, () => this.sayContinue());
    };
    call.once('socket', (socket) => {
      if (socket.connecting) socket.once('connect', begin);
      else begin();
    });
  }

  private sayContinue(): void {
    this.continueTimer?.cancel();
    if (!this.kind.expectsContinue || this.answered || this.over) return;
    this.kind.expectsContinue = false;
    this.response.writeContinue();
  }

  private hint(rawHeaders: readonly string[]): void {
    const { link } = headerObject(responseHeaders(rawHeaders));
    if (link !== undefined) this.response.writeEarlyHints({ link });
  }

  private failed(call: OutgoingRequest, endpoint: Endpoint, error: Error): void {
    if (this.call !== call || this.over) return;
    if (this.answered) {
      this.abandon();
      return;
    }
    const unsent = neverSent(error);
    if (unsent) this.parts.backends.suspect(endpoint);
    // Also a reset before any answer: what may be repeated is, elsewhere.
    if (this.attempts < MOST_ATTEMPTS && !this.bodyBegun && (unsent || this.replayable)) {
      // With one endpoint only, a second try makes good a connection that was closed while idle.
      if (!unsent && this.endpoints.length === 1) this.tried.clear();
      this.attempt();
      return;
    }
    const { ingress, service } = this.parts.route;
    const { message, code } = error as NodeJS.ErrnoException;
    const attempts = this.attempts;
    this.parts.complain({
      ingress,
      service,
      endpoint,
      attempts,
      error: code ? `${code}: ${message}` : message,
    });
    this.fail(error instanceof NotConnected && error.message.includes('timed out') ? 504 : 502);
  }

  /** An answer of ours, in place of the endpoint's. */
  private fail(status: number): void {
    if (this.over || this.answered) return;
    this.answered = true;
    this.continueTimer?.cancel();
    this.letGo('unfinished');
    answerWith(this.response, status, this.unlessContinued());
  }

  private relay(call: OutgoingRequest, answer: IncomingMessage): void {
    if (this.over || this.answered || this.call !== call) {
      answer.destroy();
      return;
    }
    this.answered = true;
    this.continueTimer?.cancel();
    const { response } = this;
    limitSilence(call, STREAM_IDLE_MS);
    const headers = responseHeaders(answer.rawHeaders);
    headers.push(...this.unlessContinued());
    beginAnswer(response, answer.statusCode ?? 502, answer.statusMessage, headers);
    let begun = false;
    answer.once('data', () => {
      begun = true;
    });
    answer.pipe(response, { end: false });
    // The head of an answer whose body takes its time, as that of an event stream.
    setImmediate(() => {
      if (!begun && !this.over && !isHttp2(response)) (response as ServerResponse).flushHeaders();
    });
    answer.on('end', () => {
      if (!answer.complete) return;
      const trailers = answer.rawTrailers;
      if (trailers.length > 0) addTrailers(response, trailers);
      this.letGo('finished');
      response.end();
    });
    answer.on('error', () => {});
    answer.on('close', () => {
      if (!answer.complete) this.abandon();
    });
  }

  private tunnel(call: OutgoingRequest, answer: IncomingMessage, backend: Duplex, head: Buffer): void {
    const { upgrade } = this.kind;
    if (!upgrade || this.over || this.answered || this.call !== call) {
      backend.destroy();
      // It changes to a protocol that nobody asked for.
      if (this.call === call) this.fail(502);
      return;
    }
    this.answered = true;
    this.over = true;
    const { socket } = upgrade;
    (this.response as ServerResponse).detachSocket(socket as never);
    socket.write(upgradeHead(answer));
    if (head.length > 0) socket.write(head);
    if (upgrade.head.length > 0) backend.write(upgrade.head);
    joinSockets(socket, backend, this.parts.done);
  }

  private bodyExpected(): boolean {
    const { kind } = this.parts.asked.body;
    return kind === 'length' || kind === 'chunked';
  }

  /** A client that was never told to continue keeps its body, and where the next request begins is then unclear. */
  private unlessContinued(): string[] {
    return this.kind.expectsContinue && !isHttp2(this.response) ? ['Connection', 'close'] : [];
  }

  /** The endpoint has said what it had to. What it did not read of the request is read away, lest the client stick. */
  private letGo(answer: 'finished' | 'unfinished'): void {
    const { call } = this;
    this.call = undefined;
    if (!call) return;
    const unread = !this.request.complete && this.bodyExpected();
    if (unread) {
      this.request.unpipe(call);
      this.request.resume();
    }
    if (unread || answer === 'unfinished') call.destroy();
  }

  /** The answer cannot be finished, and the client has to see that it is not. */
  private abandon(): void {
    if (this.over) return;
    this.call?.destroy();
    this.response.destroy();
    this.end();
  }

  /** The client has its answer, or has left. */
  private end(): void {
    if (this.over) return;
    this.over = true;
    this.continueTimer?.cancel();
    if (!this.response.writableFinished) this.call?.destroy();
    this.parts.done();
  }
}
