// watch: what happens to a bucket, as one selection of it sees it.
import { expired, invalid, type StatusError } from '../../api/errors.ts';
import type { KubeObject } from '../../api/object.ts';
import { forbiddenField } from '../../api/validation.ts';
import type { Clock, Timer } from '../../lib/clock.ts';
import { RevisionTooOld, type Store, type StoreEvent } from '../store/port.ts';
import type { Target, WatchMessage, WatchRequest } from './port.ts';
import { revisionOf } from './reading.ts';
import { type Selection, selectionOf } from './selection.ts';
import { type Served, toVersion } from './served.ts';

/** Kubernetes sends a bookmark about once a minute. */
const BOOKMARK_INTERVAL_MS = 60_000;
export const INITIAL_EVENTS_END = 'k8s.io/initial-events-end';

interface Bookmarked {
  readonly served: Served;
  send(message: WatchMessage): void;
}

export class Watcher {
  private readonly store: Store;
  private readonly clock: Clock;
  private readonly bookmarked = new Set<Bookmarked>();
  private timer: Timer | undefined;

  constructor(options: { store: Store; clock: Clock }) {
    this.store = options.store;
    this.clock = options.clock;
  }

  start(): void {
    this.timer = this.clock.every(BOOKMARK_INTERVAL_MS, () => {
      for (const { served, send } of this.bookmarked) send(bookmark(served, this.store.revision));
    });
  }

  stop(): void {
    this.timer?.cancel();
    this.bookmarked.clear();
  }

  /** Lists and follows without a gap: everything happens in this turn of the event loop. */
  watch(
    target: Target,
    served: Served,
    request: WatchRequest,
    onMessage: (message: WatchMessage) => void,
  ): { stop(): void } {
    validateWatch(request);
    const selection = selectionOf(served, target, request);
    const from = revisionOf(request.resourceVersion);
    const initial = request.sendInitialEvents ?? (from === undefined || from === 0);
    if (initial) {
      for (const { object } of this.store.list(served.bucket, selection.prefix)) {
        if (selection.matches(object)) onMessage({ type: 'ADDED', object: toVersion(served, object) });
      }
      if (request.sendInitialEvents && request.allowWatchBookmarks) {
        onMessage(bookmark(served, this.store.revision, { [INITIAL_EVENTS_END]: 'true' }));
      }
    }
    const follow = this.follow(served, selection, initial || from === undefined ? 0 : from, onMessage);
    if (!request.allowWatchBookmarks) return follow;
    const entry: Bookmarked = { served, send: onMessage };
    this.bookmarked.add(entry);
    return {
      stop: () => {
        this.bookmarked.delete(entry);
        follow.stop();
      },
    };
  }

  private follow(
    served: Served,
    selection: Selection,
    from: number,
    onMessage: (message: WatchMessage) => void,
  ): { stop(): void } {
    try {
      return this.store.watch(served.bucket, from || this.store.revision || undefined, (event) => {
        const message = seen(served, selection, event);
        if (message) onMessage(message);
      });
    } catch (error) {
      if (!(error instanceof RevisionTooOld)) throw error;
      throw expired(`too old resource version: ${from} (${error.oldest})`);
    }
  }
}

/** What one selection sees of a change: an object that enters it is ADDED, one that leaves it is DELETED. */
function seen(served: Served, selection: Selection, event: StoreEvent): WatchMessage | undefined {
  if (selection.prefix !== '' && !event.key.startsWith(selection.prefix)) return undefined;
  if (!selection.selective) return { type: event.type, object: toVersion(served, event.object) };
  const before = event.previous !== undefined && selection.matches(event.previous);
  const after = event.type !== 'DELETED' && selection.matches(event.object);
  if (after) return { type: before ? 'MODIFIED' : 'ADDED', object: toVersion(served, event.object) };
  if (!before) return undefined;
  const last = event.type === 'DELETED' ? event.object : lastSeen(event);
  return { type: 'DELETED', object: toVersion(served, last) };
}

/** The state before it left, at the revision of the change: a client goes on from there. */
function lastSeen(event: StoreEvent): KubeObject {
  const previous = event.previous as KubeObject;
  return { ...previous, metadata: { ...previous.metadata, resourceVersion: String(event.revision) } };
}

function bookmark(served: Served, revision: number, annotations?: Record<string, string>): WatchMessage {
  return {
    type: 'BOOKMARK',
    object: {
      kind: served.info.kind,
      apiVersion: served.apiVersion,
      metadata: { resourceVersion: String(revision), ...(annotations ? { annotations } : {}) },
    } as KubeObject,
  };
}

function validateWatch(request: WatchRequest): void {
  const refuse = (field: string, why: string): StatusError =>
    invalid({ group: 'meta.k8s.io', kind: 'ListOptions' }, '', [forbiddenField(field, why)]);
  const { sendInitialEvents, resourceVersionMatch: match } = request;
  if (sendInitialEvents !== undefined) {
    if (match !== 'NotOlderThan') {
      throw refuse(
        'resourceVersionMatch',
        'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan',
      );
    }
  } else if (match) {
    throw refuse(
      'resourceVersionMatch',
      'resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
    );
  }
}
