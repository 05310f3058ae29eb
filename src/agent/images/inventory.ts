import type { Pod } from '../../api/types/core-v1.ts';
import type { Clock } from '../../lib/clock.ts';
import type { ImageReport } from '../../wire/messages.ts';
import { containersOf } from '../names.ts';
import type { DesiredState } from '../ports.ts';
import type { ImageEngine, ListedImage } from './engine.ts';
import type { ImageRecords } from './records.ts';
import { familiarName, parseImageReference } from './reference.ts';

/** The kubelet's nodeStatusMaxImages, and how many names it tells of one. */
const MOST_IMAGES = 50;
const MOST_NAMES = 5;

/** An image on this machine, with what the agent has seen of it. Times are monotonic, of this process. */
export interface KnownImage extends ListedImage {
  used: boolean;
  firstSeen: number;
  /** When it was last seen in use; the first time it was seen, if never. */
  lastUsed: number;
}

/**
 * Which images the engine holds and since when nothing uses them: every container on the engine counts, whoever made it,
 * and every pod that is to run here. After a restart of the agent the times begin anew, as the kubelet's do.
 */
export class ImageInventory {
  private readonly engine: Pick<ImageEngine, 'list' | 'inUse'>;
  private readonly desired: Pick<DesiredState, 'pods'>;
  private readonly records: ImageRecords;
  private readonly clock: Clock;
  private readonly seen = new Map<string, { used: boolean; firstSeen: number; lastUsed: number }>();

  constructor(options: {
    engine: Pick<ImageEngine, 'list' | 'inUse'>;
    desired: Pick<DesiredState, 'pods'>;
    records: ImageRecords;
    clock: Clock;
  }) {
    this.engine = options.engine;
    this.desired = options.desired;
    this.records = options.records;
    this.clock = options.clock;
  }

  async look(): Promise<KnownImage[]> {
    // What is pulled while the engine answers is not in its answer.
    const recorded = [...this.records.all().keys()];
    const [images, inUse] = await Promise.all([this.engine.list(), this.engine.inUse()]);
    const wanted = new Set(this.desired.pods().flatMap(imagesOf).map(familiarName));
    const now = this.clock.monotonic();
    const present = new Set(images.map(({ id }) => id));
    for (const id of [...this.seen.keys()]) if (!present.has(id)) this.seen.delete(id);
    // Removed by hand: whatever comes under that id again was not brought by us.
    for (const id of recorded) if (!present.has(id)) this.records.forget(id);
    return images.map((image) => {
      const used = inUse.has(image.id) || namesOf(image, this.records).some((name) => wanted.has(name));
      const before = this.seen.get(image.id);
      if (before?.used && !used) this.records.unused(image.id);
      const state = {
        used,
        firstSeen: before?.firstSeen ?? now,
        // Between two looks it may have been used until just now.
        lastUsed: used || before?.used ? now : (before?.lastUsed ?? now),
      };
      this.seen.set(image.id, state);
      return { ...image, ...state };
    });
  }
}

/** As node.status.images shows them: with names, the largest first. */
export function reportedImages(images: readonly ListedImage[]): ImageReport['images'] {
  return images
    .map(({ tags, digests, sizeBytes }) => ({ names: [...digests, ...tags].slice(0, MOST_NAMES), sizeBytes }))
    .filter(({ names }) => names.length > 0)
    .sort(
      (left, right) =>
        right.sizeBytes - left.sizeBytes || (left.names[0] ?? '').localeCompare(right.names[0] ?? ''),
    )
    .slice(0, MOST_IMAGES);
}

/** Also under names that the engine does not list: what a mirror gave by its digest. */
function namesOf({ id, tags, digests }: ListedImage, records: ImageRecords): string[] {
  const digest = records.of(id)?.digest;
  return [...tags, ...digests, ...(digest === undefined ? [] : [digest])].map(familiarName);
}

/** Of a pod that has ended nothing is needed any more, though its object is still there. */
function imagesOf(pod: Pod): string[] {
  if (pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed') return [];
  const written = containersOf(pod).map(({ container }) => container.image ?? '');
  for (const { image } of pod.spec?.volumes ?? []) if (image?.reference) written.push(image.reference);
  // A name with tag and digest is kept by its digest alone.
  return written.map((text) => parseImageReference(text)?.engineName ?? text);
}
