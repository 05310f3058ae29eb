import type { BoardMeasurements } from '../../api/board.ts';
import { NODES } from '../../api/kinds.ts';
import type { BoardReadings, NodeLiveness } from '../../client/boards.ts';
import type { InformerSet } from '../../client/informer.ts';
import type { Clock } from '../../lib/clock.ts';

/** One board in the answer of GET /copepod/v1/boards: what it measured last, and how long ago it was heard. */
export interface BoardReport extends Partial<BoardMeasurements> {
  node: string;
  /** Its connection to the broker stands. */
  alive: boolean;
  /** Seconds since its last message, by the server's monotonic clock; absent: not heard since the server's start. */
  heartbeatAge?: number;
}

/** What Kubernetes' API has no place for: temperature, throttling, load. Memory only; nothing of it is stored. */
export function boardsOf(
  informers: InformerSet,
  boards: { readings: BoardReadings; liveness: NodeLiveness },
  clock: Clock,
): { items: BoardReport[] } {
  const items = informers
    .of(NODES)
    .list()
    .map((node): BoardReport => {
      const name = node.metadata.name ?? '';
      const life = boards.liveness.of(name);
      const { at: _, ...measured } = boards.readings.of(name) ?? { at: 0 };
      return {
        node: name,
        alive: life?.connected ?? false,
        ...(life && life.lastSeen > 0
          ? { heartbeatAge: Math.round((clock.monotonic() - life.lastSeen) / 1000) }
          : {}),
        ...measured,
      };
    });
  return { items };
}
