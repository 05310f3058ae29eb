// Pieces of table cells that several kinds share.
import type { JsonObject } from '../../../api/object.ts';
import { formatSelector, selectorRequirements } from '../../../api/selectors.ts';
import type { LabelSelector } from '../../../api/types/meta-v1.ts';
import { objectAt, stringAt } from '../../../api/validation.ts';
import { ageOf } from './age.ts';

/** A LabelSelector as text; `<none>` when it selects everything or is absent. */
export function selectorCell(selector: JsonObject | undefined): string {
  if (!selector) return '<none>';
  return formatSelector(selectorRequirements(selector as unknown as LabelSelector)) || '<none>';
}

/** `a=b,c=d` of a plain map. */
export function mapCell(map: JsonObject | undefined): string {
  const entries = Object.entries(map ?? {});
  if (entries.length === 0) return '<none>';
  return entries
    .map(([key, value]) => `${key}=${value}`)
    .sort()
    .join(',');
}

export function nameCell(object: JsonObject): string {
  return stringAt(objectAt(object, 'metadata'), 'name');
}

export function ageCell(object: JsonObject, now: number): string {
  return ageOf(objectAt(object, 'metadata').creationTimestamp, now);
}

const ACCESS_MODES: Readonly<Record<string, string>> = {
  ReadWriteOnce: 'RWO',
  ReadOnlyMany: 'ROX',
  ReadWriteMany: 'RWX',
  ReadWriteOncePod: 'RWOP',
};

export function accessModesCell(modes: readonly string[]): string {
  const given = new Set(modes);
  return Object.keys(ACCESS_MODES)
    .filter((mode) => given.has(mode))
    .map((mode) => ACCESS_MODES[mode])
    .join(',');
}
