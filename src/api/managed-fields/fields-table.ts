// Objects that were written alike have owners of the same fields: all pods of a ReplicaSet, all Leases, all ConfigMaps
// of a generator. Each such set is held once, whatever the number of objects.
import type { KubeObject } from '../object.ts';
import { type Owner, type Owners, withFields } from './entries.ts';
import { type FieldSet, MEMBER } from './field-set.ts';

/** Sets that are kept for sharing; those seen least recently go first. Who has one keeps it. */
const MOST_SETS = 1000;
const MOST_CHARACTERS = 1_000_000;

export class FieldsTable {
  private readonly sets = new Map<string, FieldSet>();
  private readonly shared = new WeakSet<FieldSet>();
  private readonly texts = new Map<string, string>();
  private characters = 0;

  /** The same text, once: names of managers and versions, times of a second. */
  text(given: string): string {
    const known = this.texts.get(given);
    if (known !== undefined) return known;
    if (this.texts.size >= MOST_SETS) this.texts.clear();
    this.texts.set(given, given);
    return given;
  }

  /** The same entries, with sets that others have too. */
  share(owners: Owners): Owners {
    return owners.map((owner) => withFields(owner, this.sharedSet(owner.fieldsV1)));
  }

  /** For an object fresh from disk, before anybody else sees it. */
  shareIn(object: KubeObject): void {
    const { metadata } = object;
    if (metadata?.managedFields === undefined) return;
    const owners = metadata.managedFields as unknown as Owners;
    metadata.managedFields = this.share(owners).map((owner) => ({
      ...owner,
      manager: this.text(owner.manager),
      apiVersion: this.text(owner.apiVersion),
      ...(owner.time === undefined ? {} : { time: this.text(owner.time) }),
    })) as unknown as Owner[];
  }

  private sharedSet(set: FieldSet): FieldSet {
    if (this.shared.has(set)) return set;
    const ordered = inOrder(set);
    const text = JSON.stringify(ordered);
    const known = this.sets.get(text);
    if (known) {
      // Last in line again.
      this.sets.delete(text);
      this.sets.set(text, known);
      return known;
    }
    this.sets.set(text, ordered);
    this.shared.add(ordered);
    this.characters += text.length;
    this.trim();
    return ordered;
  }

  private trim(): void {
    for (const text of this.sets.keys()) {
      if (this.sets.size <= MOST_SETS && this.characters <= MOST_CHARACTERS) return;
      this.sets.delete(text);
      this.characters -= text.length;
    }
  }
}

/** As Kubernetes writes them, and with one object for all leaves. */
function inOrder(set: FieldSet): FieldSet {
  const names = Object.keys(set);
  if (names.length === 0) return MEMBER;
  const result: Record<string, FieldSet> = {};
  for (const name of names.sort()) result[name] = inOrder(set[name] as FieldSet);
  return result;
}
