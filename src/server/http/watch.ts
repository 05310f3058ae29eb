import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ResourceInfo } from '../../api/catalogue.ts';
import type { KubeObject } from '../../api/object.ts';
import { apiVersionOf } from '../../api/resource.ts';
import type { Clock, Timer } from '../../lib/clock.ts';
import type { Random } from '../../lib/random.ts';
import type { Registry, RequestContext, Target, WatchMessage, WatchRequest } from '../registry/port.ts';
import { NOT_CACHED, warningHeader } from './answer.ts';
import type { AnswerForm } from './negotiation.ts';
import { type IncludeObject, partial, type TableWriter } from './table.ts';

/** A watcher whose unread bytes pass this is too slow and is cut off. */
const SLOW_WATCHER_BYTES = 4 * 1024 * 1024;
/** All watchers that are behind may hold this much together; beyond, those that have been behind longest go. */
const SLOW_WATCHERS_BYTES = 32 * 1024 * 1024;
/** Less than this is the network's ordinary delay. */
const BEHIND_BYTES = 64 * 1024;
/** A burst of changes puts everyone behind for a moment. */
const BEHIND_MS = 1000;
/** Of what a watcher is given at its start, so much is made ahead of what it has taken. */
const AHEAD_BYTES = 256 * 1024;
/** Changes that may wait until a watcher has taken what it is given at its start. */
const CHANGES_WAITING = 4096;
const BOOKMARK_EVERY_MS = 60_000;
/** Without timeoutSeconds a watch ends after 30 to 60 minutes, so that watchers spread again over time. */
const SHORTEST_DEFAULT_S = 1800;

/** Where the lines of a watch go: a chunked response or a WebSocket. */
export interface WatchSink {
  /** Before the first write; `contentType` is for HTTP. */
  open(contentType: string): void;
  write(line: string): void;
  readonly pendingBytes: number;
  /** Once, when what was written has gone out; soon, when it has already. */
  onDrain(listener: () => void): void;
  /** The orderly end. */
  end(): void;
  /** Cuts the connection. */
  destroy(): void;
  onClose(listener: () => void): void;
}

export interface WatchStreamsOptions {
  registry: Registry;
  tables: TableWriter;
  clock: Clock;
  random: Random;
  /** The newest published revision, for bookmarks. */
  revision: () => number;
  /** The JSON text of an object; the store keeps fresh ones, so that each change is serialised once for all watchers. */
  serialise: (object: object) => string;
}

interface Behind {
  readonly sink: WatchSink;
  cut(): void;
}

/** Serves watches: everything between Registry.watch and a sink. */
export class WatchStreams {
  private readonly options: WatchStreamsOptions;
  private readonly open = new Set<{ readonly target: Target; finish(): void }>();
  /** Watchers that do not keep up, with their unread bytes when last looked at, longest first. */
  private readonly behind = new Map<Behind, { bytes: number; since: number }>();
  private behindBytes = 0;
  /** Events go to all watchers of a change one after another: the last line made is nearly always the one needed. */
  private last: { object: object; type: string; line: string } | undefined;

  constructor(options: WatchStreamsOptions) {
    this.options = options;
  }

  get count(): number {
    return this.open.size;
  }

  /** Ends every watch in order: clients watch again elsewhere, or after the restart. */
  stop(): void {
    for (const watch of [...this.open]) watch.finish();
  }

  /** Ends the watches of a resource that is served no more, or in another shape: clients list again. */
  endOf({ group, version, resource }: ResourceInfo): void {
    for (const watch of [...this.open]) {
      const { info } = watch.target;
      if (info.group === group && info.version === version && info.resource === resource) watch.finish();
    }
  }

  /** Throws (before the sink is opened) what Registry.watch throws. Resolves when the watch has started. */
  async serve(
    context: RequestContext,
    target: Target,
    request: WatchRequest & { timeoutSeconds: number | undefined },
    form: AnswerForm,
    include: IncludeObject,
    sink: WatchSink,
  ): Promise<void> {
    // Everything that is, then what changes: a list of ten thousand objects is written as fast as it is taken.
    const waiting: WatchMessage[] = [];
    let deliver = (message: WatchMessage): void => void waiting.push(message);
    const writer = this.writer(target, form, include);
    const watch = await this.options.registry.watch(context, target, request, (message) => deliver(message));
    sink.open(form.stream ? 'application/json;stream=watch' : 'application/json');
    const timers: Timer[] = [];
    let ended = false;
    const release = (): void => {
      ended = true;
      for (const timer of timers) timer.cancel();
      watch.stop();
      this.open.delete(entry);
      this.note(entry, 0);
    };
    const entry = {
      sink,
      target,
      cut: (): void => {
        if (ended) return;
        release();
        sink.destroy();
      },
      finish: (): void => {
        if (ended) return;
        release();
        sink.end();
      },
    };
    this.open.add(entry);
    sink.onClose(() => {
      if (!ended) release();
    });
    const write = (message: WatchMessage): void => {
      sink.write(writer(message));
      // An ERROR is the last that is said.
      if (message.type === 'ERROR') entry.finish();
    };
    let next = 0;
    const most = waiting.length + CHANGES_WAITING;
    const pump = (): void => {
      while (!ended && next < waiting.length && sink.pendingBytes < AHEAD_BYTES) {
        write(waiting[next] as WatchMessage);
        next += 1;
      }
      if (ended) return;
      if (next < waiting.length) {
        sink.onDrain(pump);
        return;
      }
      waiting.length = 0;
      deliver = (message) => {
        if (ended) return;
        write(message);
        if (sink.pendingBytes > SLOW_WATCHER_BYTES) entry.cut();
        else this.keepBound(entry);
      };
      this.keepBound(entry);
    };
    deliver = (message) => {
      waiting.push(message);
      if (waiting.length > most) entry.cut();
    };
    pump();
    if (ended) return;
    timers.push(this.options.clock.after(this.lifetime(request.timeoutSeconds), entry.finish));
    if (request.allowWatchBookmarks) {
      timers.push(this.options.clock.every(BOOKMARK_EVERY_MS, () => deliver(this.bookmark(target))));
    }
  }

  /** Bounds what all slow watchers hold together: thousands of them, each within its own limit, would fill the memory. */
  private keepBound(entry: Behind): void {
    const { pendingBytes } = entry.sink;
    if (pendingBytes < BEHIND_BYTES && !this.behind.has(entry)) return;
    this.note(entry, pendingBytes);
    if (this.behindBytes <= SLOW_WATCHERS_BYTES) return;
    for (const known of [...this.behind.keys()]) this.note(known, known.sink.pendingBytes);
    const now = this.options.clock.monotonic();
    for (const [known, { since }] of [...this.behind]) {
      // The last one harms nobody: it may have a long list to take over a thin line.
      if (this.behindBytes <= SLOW_WATCHERS_BYTES || this.behind.size === 1) return;
      if (now - since >= BEHIND_MS) known.cut();
    }
  }

  private note(entry: Behind, bytes: number): void {
    const known = this.behind.get(entry);
    this.behindBytes -= known?.bytes ?? 0;
    if (bytes < BEHIND_BYTES) {
      this.behind.delete(entry);
      return;
    }
    this.behindBytes += bytes;
    this.behind.set(entry, { bytes, since: known?.since ?? this.options.clock.monotonic() });
  }

  private lifetime(seconds: number | undefined): number {
    const { random } = this.options;
    const chosen = seconds && seconds > 0 ? seconds : SHORTEST_DEFAULT_S * (1 + random.number());
    return chosen * 1000;
  }

  private bookmark({ info }: Target): WatchMessage {
    return {
      type: 'BOOKMARK',
      object: {
        kind: info.kind,
        apiVersion: apiVersionOf(info),
        metadata: { resourceVersion: String(this.options.revision()) },
      },
    };
  }

  private writer(
    target: Target,
    form: AnswerForm,
    include: IncludeObject,
  ): (message: WatchMessage) => string {
    if (form.as === 'table') return this.tableWriter(target, form, include);
    if (form.as === 'partial' || form.as === 'partial-list') {
      return ({ type, object }) =>
        line(
          type,
          JSON.stringify(type === 'ERROR' ? object : partial(object as KubeObject, form.metaVersion)),
        );
    }
    return ({ type, object }) => {
      const { last } = this;
      if (last?.object === object && last.type === type) return last.line;
      const made = line(type, this.options.serialise(object));
      this.last = { object, type, line: made };
      return made;
    };
  }

  /** Each event is a Table with one row; only the first says what the columns are. */
  private tableWriter(
    { info }: Target,
    form: AnswerForm,
    include: IncludeObject,
  ): (message: WatchMessage) => string {
    let withColumns = true;
    return ({ type, object }) => {
      if (type === 'ERROR') return line(type, JSON.stringify(object));
      const item = object as KubeObject;
      const { resourceVersion } = item.metadata;
      const table = this.options.tables.table(info, type === 'BOOKMARK' ? [] : [item], {
        meta: resourceVersion === undefined ? {} : { resourceVersion },
        include,
        metaVersion: form.metaVersion,
        now: this.options.clock.now(),
        withColumns,
      });
      withColumns = false;
      return line(type, JSON.stringify(table));
    };
  }
}

const line = (type: string, json: string): string => `{"type":"${type}","object":${json}}\n`;

/** A watch as a chunked HTTP answer. */
export class ResponseSink implements WatchSink {
  private readonly request: IncomingMessage;
  private readonly response: ServerResponse;
  private readonly warnings: readonly string[];

  constructor(request: IncomingMessage, response: ServerResponse, warnings: readonly string[]) {
    this.request = request;
    this.response = response;
    this.warnings = warnings;
  }

  open(contentType: string): void {
    if (this.response.destroyed) return;
    const headers: Record<string, string | string[]> = {
      'cache-control': NOT_CACHED,
      'content-type': contentType,
    };
    if (this.warnings.length > 0) headers.warning = this.warnings.map(warningHeader);
    this.response.writeHead(200, headers);
    // The client knows by the headers that its watch stands, even while nothing happens.
    this.response.flushHeaders();
    this.request.socket.setNoDelay(true);
  }

  write(text: string): void {
    if (!this.response.destroyed && !this.response.writableEnded) this.response.write(text);
  }

  get pendingBytes(): number {
    return this.response.writableLength;
  }

  onDrain(listener: () => void): void {
    if (this.response.writableNeedDrain) this.response.once('drain', listener);
    else setImmediate(listener);
  }

  end(): void {
    if (!this.response.destroyed) this.response.end();
  }

  destroy(): void {
    this.response.destroy();
  }

  onClose(listener: () => void): void {
    if (this.response.destroyed) queueMicrotask(listener);
    else this.response.once('close', listener);
  }
}
