import type { ImageReports } from '../client/boards.ts';

/**
 * For which CPU architectures images are made, as far as it is known. A pure store of hints: what is not known lets the
 * pod pass. Agents tell what a pull taught them.
 */
export interface ImageHints {
  /** Architectures (GOARCH: amd64, arm64, arm) that the image certainly has nothing for; undefined when none is known. */
  lacking(image: string): ReadonlySet<string> | undefined;
}

export const NO_HINTS: ImageHints = { lacking: () => undefined };

/** More images than these are forgotten, the longest unused first. */
const REMEMBERED = 2048;

/** In memory; a restart forgets, and the next pull that fails teaches it again. */
export class ImageArchitectures implements ImageHints, ImageReports {
  private readonly known = new Map<string, { has: Set<string>; lacks: Set<string> }>();
  private readonly listeners = new Set<(image: string) => void>();

  lacking(image: string): ReadonlySet<string> | undefined {
    if (this.known.size === 0) return undefined;
    return this.known.get(canonicalImage(image))?.lacks;
  }

  learn(image: string, architecture: string, exists: boolean): void {
    const name = canonicalImage(image);
    const entry = this.known.get(name) ?? { has: new Set(), lacks: new Set() };
    this.known.delete(name);
    this.known.set(name, entry);
    const before = entry.lacks.has(architecture);
    (exists ? entry.has : entry.lacks).add(architecture);
    (exists ? entry.lacks : entry.has).delete(architecture);
    if (this.known.size > REMEMBERED) {
      const [oldest] = this.known.keys();
      if (oldest !== undefined) this.known.delete(oldest);
    }
    if (before !== !exists) for (const listener of [...this.listeners]) listener(name);
  }

  /** Called when a verdict changed. Returns the unsubscriber. */
  onChange(listener: (image: string) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

/** One name for `web`, `web:latest`, `library/web` and `docker.io/library/web:latest`, which mean the same image. */
export function canonicalImage(image: string): string {
  const [head = '', ...rest] = image.split('/');
  const registry = rest.length > 0 && (/[.:]/.test(head) || head === 'localhost') ? head : '';
  const path = registry === '' ? image : rest.join('/');
  const local = registry === '' || registry === 'docker.io' || registry === 'index.docker.io';
  const name = local && path.startsWith('library/') ? path.slice('library/'.length) : path;
  const last = name.slice(name.lastIndexOf('/') + 1);
  const tagged = last.includes(':') || last.includes('@') ? name : `${name}:latest`;
  return local ? tagged : `${registry}/${tagged}`;
}
