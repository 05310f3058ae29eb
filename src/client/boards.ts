import type { BoardMeasurements } from '../api/board.ts';

/** What boards measured last, in memory: for the scheduler's scores and the dashboard. Gone after a restart, and soon back. */
export interface BoardReadings {
  /** Undefined when none came for a minute. `at` is the clock's monotonic time of receipt. */
  of(node: string): (BoardMeasurements & { readonly at: number }) | undefined;
  /** Called after each measurement that came. Returns the unsubscriber. Absent where readings never change. */
  onReading?(listener: (node: string) => void): () => void;
}

/** Where it is told what pulls of images taught: the scheduler keeps pods off boards that an image has nothing for. */
export interface ImageReports {
  /** `architecture` is a GOARCH (amd64, arm64, arm): the image exists for it, or certainly does not. */
  learn(image: string, architecture: string, exists: boolean): void;
}

/** How the connection to a node is, as the broker and its heartbeats tell: what the node monitor decides by. */
export interface NodeLiveness {
  of(node: string): NodeLife | undefined;
  /** Called when a node connects or its connection is lost (not at each heartbeat). Returns the unsubscriber. */
  onChange(listener: (node: string) => void): () => void;
  /**
   * Monotonic time from which silence counts: when this server began to listen. A node that has not been heard since a
   * restart of the server is to be given its whole grace period from here.
   */
  readonly listeningSince: number;
}

export interface NodeLife {
  /** False as soon as the broker publishes the last will: the board, its process or its network died. */
  readonly connected: boolean;
  /** Monotonic time of the last message of any kind; 0 when there was none since the server started. */
  readonly lastSeen: number;
  /** Monotonic time of the last change of `connected`. */
  readonly since: number;
}
