import type { KubeObject } from '../../src/api/object.ts';
import { groupResource, type ResourceType } from '../../src/api/resource.ts';
import type { Store } from '../../src/server/store/port.ts';
import { WRITE } from './mirror.ts';

/** One object that the user made. */
export interface Owned {
  readonly type: ResourceType<KubeObject>;
  readonly namespace: string | undefined;
  readonly name: string;
  /** Of the newest acknowledged write. */
  acknowledged: { write: number; revision: number } | undefined;
  /** `asked` as soon as a deletion was sent: it may have happened. */
  deletion: 'none' | 'asked' | 'acknowledged';
}

export function keyOf(
  type: { group: string; resource: string },
  namespace: string | undefined,
  name: string,
): string {
  return `${groupResource(type)} ${namespace ?? ''}/${name}`;
}

/** What was acknowledged is there, and what was acknowledged as deleted is not. */
export function verifyOwned(owned: Owned, store: Store, violation: (what: string) => void): void {
  const { acknowledged, deletion } = owned;
  const key = owned.namespace === undefined ? owned.name : `${owned.namespace}/${owned.name}`;
  const title = `${groupResource(owned.type)} ${key}`;
  const found = store.get(groupResource(owned.type), key)?.object;
  if (deletion === 'acknowledged') {
    if (found && found.metadata.deletionTimestamp === undefined && !isAnother(owned, found)) {
      violation(`acknowledged deletion of ${title} is lost`);
    }
    return;
  }
  if (!acknowledged || deletion === 'asked') return;
  // Pods are deleted by others too: evictions, node failures; the mirror looks after those.
  if (!found) {
    if (owned.type.resource !== 'pods') violation(`acknowledged ${title} is lost`);
    return;
  }
  const write = Number(found.metadata.annotations?.[WRITE] ?? 0);
  if (write < acknowledged.write) {
    violation(`acknowledged write ${acknowledged.write} of ${title} is lost, it is at ${write}`);
  }
  if (Number(found.metadata.resourceVersion) < acknowledged.revision && write <= acknowledged.write) {
    // Its status may have gone back to what was flushed; what the user wrote has its own revision.
    violation(`${title} is at ${found.metadata.resourceVersion}, acknowledged was ${acknowledged.revision}`);
  }
}

function isAnother(owned: Owned, found: KubeObject): boolean {
  const write = Number(found.metadata.annotations?.[WRITE] ?? 0);
  return owned.acknowledged !== undefined && write > owned.acknowledged.write;
}
