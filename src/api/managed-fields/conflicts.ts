import { StatusError } from '../errors.ts';
import type { Conflict } from './apply.ts';
import { type Owner, ownerKey } from './entries.ts';
import { writtenPath } from './path-element.ts';

/** 409 with a cause for every field and its owner. */
export function conflictStatus(conflicts: readonly Conflict[]): StatusError {
  const sorted = [...conflicts].sort((left, right) => {
    const [a, b] = [ownerKey(left.owner), ownerKey(right.owner)];
    return a < b ? -1 : a > b ? 1 : 0;
  });
  const causes = sorted.map(({ owner, path }) => ({
    reason: 'FieldManagerConflict',
    message: `conflict with ${written(owner)}`,
    field: writtenPath(path),
  }));
  return new StatusError('Conflict', 409, messageOf(sorted), { causes });
}

function messageOf(conflicts: readonly Conflict[]): string {
  const [only] = conflicts;
  if (only && conflicts.length === 1) {
    return `Apply failed with 1 conflict: conflict with ${written(only.owner)}: ${writtenPath(only.path)}`;
  }
  const lines: string[] = [];
  let last: Owner | undefined;
  for (const { owner, path } of conflicts) {
    if (owner !== last) lines.push(`conflicts with ${written(owner)}:`);
    last = owner;
    lines.push(`- ${writtenPath(path)}`);
  }
  return `Apply failed with ${conflicts.length} conflicts: ${lines.join('\n')}`;
}

function written({ manager, operation, apiVersion, subresource }: Owner): string {
  const name = JSON.stringify(manager);
  const through = subresource ? `${name} with subresource ${JSON.stringify(subresource)}` : name;
  return operation === 'Update' ? `${through} using ${apiVersion}` : through;
}
