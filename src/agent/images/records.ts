import type { Clock } from '../../lib/clock.ts';
import type { Journal } from '../journal.ts';
import type { Credential, CredentialSource } from './credentials.ts';
import { familiarName } from './reference.ts';

/** Of an image that this agent has pulled, by the image's id in the journal. */
export interface ImageRecord {
  /** It was not on the machine before: ours to remove when nothing needs it. */
  brought: boolean;
  /** The names that pulls have given it, as Docker lists them. */
  names: string[];
  /** `name@sha256:…` where the engine does not say it. */
  digest?: string;
  /** Wall time at which it was last seen in use, for the order of removal only: clocks of boards jump. */
  usedAt: number;
  /** Who may have it without asking its registry again: everybody, or whoever has one of these. */
  access: 'all' | CredentialSource[];
}

/** `--image-pull-credentials-verification-policy`, KEP-2535. */
export type VerificationPolicy = 'NeverVerify' | 'NeverVerifyPreloadedImages' | 'AlwaysVerify';

/** The kubelet's bound. */
const MOST_SOURCES = 100;

/**
 * What is remembered of pulls: which images are the agent's own to remove, and whose credentials had access. Written
 * when a pull brings something new, and when an image falls out of use.
 */
export class ImageRecords {
  private readonly journal: Pick<Journal, 'take' | 'put' | 'delete'>;
  private readonly clock: Clock;
  private held: Map<string, ImageRecord> | undefined;

  constructor(options: { journal: Pick<Journal, 'take' | 'put' | 'delete'>; clock: Clock }) {
    this.journal = options.journal;
    this.clock = options.clock;
  }

  of(id: string): ImageRecord | undefined {
    return this.records.get(id);
  }

  all(): ReadonlyMap<string, ImageRecord> {
    return this.records;
  }

  /** `before`: the image that had this name until now, if any. */
  pulled(
    id: string,
    pull: { name: string; before: string | undefined; digest?: string; credential?: Credential },
  ): void {
    const old = this.records.get(id);
    const name = familiarName(pull.name);
    const source = pull.credential?.source;
    const record: ImageRecord = {
      brought: old?.brought ?? pull.before !== id,
      names: [...new Set([...(old?.names ?? []), name])],
      ...(pull.digest === undefined ? {} : { digest: pull.digest }),
      usedAt: old?.usedAt ?? this.clock.now(),
      access: source && old?.access !== 'all' ? withSource(old?.access ?? [], source) : 'all',
    };
    if (JSON.stringify(record) !== JSON.stringify(old)) this.put(id, record);
  }

  /** May a pod with these credentials have the image without its registry being asked? */
  mayUse(id: string, policy: VerificationPolicy, credentials: () => Credential[]): boolean {
    if (policy === 'NeverVerify') return true;
    const record = this.records.get(id);
    if (!record) return policy === 'NeverVerifyPreloadedImages';
    if (record.access === 'all') return true;
    for (const { source } of credentials()) {
      if (!source) continue;
      const known = record.access.find(
        (each) =>
          each.hash === source.hash ||
          (each.uid === source.uid && each.name === source.name && each.namespace === source.namespace),
      );
      if (!known) continue;
      // The same credential in another Secret, or the Secret with another credential: both are known from now on.
      const access = withSource(record.access, source);
      if (access !== record.access) this.put(id, { ...record, access });
      return true;
    }
    return false;
  }

  /** It has fallen out of use just now. */
  unused(id: string): void {
    const record = this.records.get(id);
    if (record) this.put(id, { ...record, usedAt: this.clock.now() });
  }

  forget(id: string): void {
    if (!this.records.has(id)) return;
    this.records.delete(id);
    this.journal.delete('image', id);
  }

  private put(id: string, record: ImageRecord): void {
    this.records.set(id, record);
    this.journal.put('image', id, record);
  }

  private get records(): Map<string, ImageRecord> {
    this.held ??= this.journal.take<ImageRecord>('image');
    return this.held;
  }
}

function withSource(access: CredentialSource[], source: CredentialSource): CredentialSource[] {
  if (access.some(({ uid, hash }) => uid === source.uid && hash === source.hash)) return access;
  return [...access.filter(({ uid }) => uid !== source.uid), source].slice(-MOST_SOURCES);
}
