import type { BoardMeasurements } from '../../api/board.ts';
import type { BoardReadings, NodeLife, NodeLiveness } from '../../client/boards.ts';
import type { Clock } from '../../lib/clock.ts';

/** Six heartbeats missed: what was measured then says nothing any more. */
const STALE_AFTER_MS = 60_000;

interface Board {
  boot: string | undefined;
  connected: boolean;
  since: number;
  lastSeen: number;
  readings: (BoardMeasurements & { readonly at: number }) | undefined;
}

/** What the bus knows of each board, in memory only: no heartbeat is ever written to disk. */
export class BoardState {
  /** For the scheduler. */
  readonly readings: BoardReadings;
  /** For the node monitor. */
  readonly liveness: NodeLiveness;
  private readonly clock: Clock;
  private readonly boards = new Map<string, Board>();
  private readonly listeners = new Set<(node: string) => void>();
  private readonly readingListeners = new Set<(node: string) => void>();
  private begin = 0;

  constructor(options: { clock: Clock }) {
    this.clock = options.clock;
    this.readings = {
      of: (node) => {
        const readings = this.boards.get(node)?.readings;
        return readings && this.clock.monotonic() - readings.at <= STALE_AFTER_MS ? readings : undefined;
      },
      onReading: (listener) => {
        this.readingListeners.add(listener);
        return () => this.readingListeners.delete(listener);
      },
    };
    const state = this;
    this.liveness = {
      of: (node) => state.life(node),
      onChange: (listener) => {
        state.listeners.add(listener);
        return () => state.listeners.delete(listener);
      },
      get listeningSince() {
        return state.begin;
      },
    };
  }

  /** From now on silence counts. */
  listens(): void {
    this.begin = this.clock.monotonic();
  }

  /** True when the message opens a new boot of the agent: its sequences begin again. */
  alive(node: string, boot: string): boolean {
    const board = this.seen(node);
    const fresh = board.boot !== boot;
    board.boot = boot;
    this.connected(node, board, true);
    return fresh;
  }

  /** The last will. One of an earlier boot, delivered late, says nothing of the present one. */
  died(node: string, boot: string): void {
    const board = this.boards.get(node) ?? this.create(node);
    if (board.boot !== undefined && board.boot !== boot) return;
    this.connected(node, board, false);
  }

  heartbeat(node: string, measurements: BoardMeasurements): void {
    const board = this.seen(node);
    board.readings = { ...measurements, at: this.clock.monotonic() };
    // A heartbeat proves more than a will that came before it (its connection was replaced by a new one).
    this.connected(node, board, true);
    for (const listener of [...this.readingListeners]) listener(node);
  }

  /** Any other message. */
  heard(node: string): void {
    this.seen(node);
  }

  forget(node: string): void {
    this.boards.delete(node);
  }

  private life(node: string): NodeLife | undefined {
    const board = this.boards.get(node);
    return board && { connected: board.connected, lastSeen: board.lastSeen, since: board.since };
  }

  private seen(node: string): Board {
    const board = this.boards.get(node) ?? this.create(node);
    board.lastSeen = this.clock.monotonic();
    return board;
  }

  private create(node: string): Board {
    const board: Board = {
      boot: undefined,
      connected: false,
      since: this.clock.monotonic(),
      lastSeen: 0,
      readings: undefined,
    };
    this.boards.set(node, board);
    return board;
  }

  private connected(node: string, board: Board, connected: boolean): void {
    if (board.connected === connected) return;
    board.connected = connected;
    board.since = this.clock.monotonic();
    for (const listener of [...this.listeners]) listener(node);
  }
}
