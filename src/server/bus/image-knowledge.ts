import type { NodeStatus } from '../../api/types/core-v1.ts';
import type { ImageReports } from '../../client/boards.ts';
import { sameJson } from '../../lib/equal.ts';
import type { ImageReport } from '../../wire/messages.ts';

/**
 * Joins what the boards say about images that have nothing for their architecture. A verdict stands as long as one board
 * of that architecture holds it: boards look again from time to time, and take back what a changed tag made wrong.
 */
export class ImageKnowledge {
  private readonly reports: ImageReports;
  private readonly boards = new Map<string, { architecture: string; lacking: ReadonlySet<string> }>();

  constructor(reports: ImageReports) {
    this.reports = reports;
  }

  came(node: string, { architecture, lacking }: ImageReport): void {
    const before = this.boards.get(node);
    const now = { architecture, lacking: new Set(lacking) };
    this.boards.set(node, now);
    for (const image of now.lacking) this.reports.learn(image, architecture, false);
    if (before) this.takeBack(before);
  }

  forget(node: string): void {
    const before = this.boards.get(node);
    this.boards.delete(node);
    if (before) this.takeBack(before);
  }

  /** What nobody says any more is not certain any more: the scheduler may try again. */
  private takeBack({ architecture, lacking }: { architecture: string; lacking: ReadonlySet<string> }): void {
    for (const image of lacking) {
      let held = false;
      for (const board of this.boards.values()) {
        held ||= board.architecture === architecture && board.lacking.has(image);
      }
      if (!held) this.reports.learn(image, architecture, true);
    }
  }
}

/** The node's status with its images, or undefined when nothing of it is new. */
export function statusAfterImages(
  status: NodeStatus | undefined,
  { images }: ImageReport,
): NodeStatus | undefined {
  return sameJson(status?.images ?? [], images) ? undefined : { ...status, images };
}
