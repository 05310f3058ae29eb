// get and list: consistent, paged, at the revision that was asked for.
import { badRequest, expired, invalid, notFound, StatusError } from '../../api/errors.ts';
import { type KubeObject, objectKey } from '../../api/object.ts';
import { forbiddenField, notSupported } from '../../api/validation.ts';
import { RevisionTooOld, type Store, type Stored } from '../store/port.ts';
import type { ListResult, ReadOptions, Target } from './port.ts';
import { type Selection, selectionOf } from './selection.ts';
import { type Served, toVersion } from './served.ts';

const LIST_OPTIONS = { group: 'meta.k8s.io', kind: 'ListOptions' };

/** The revision of a resourceVersion text; undefined for none. Throws BadRequest when it is no number. */
export function revisionOf(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  if (!/^\d{1,15}$/.test(text)) {
    throw badRequest(
      `resourceVersion: Invalid value: ${JSON.stringify(text)}: strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`,
    );
  }
  return Number(text);
}

export function tooLargeRevision(asked: number, current: number): StatusError {
  const message = `Too large resource version: ${asked}, current: ${current}`;
  return new StatusError('Timeout', 504, `Timeout: ${message}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  });
}

/** The rules of ValidateListOptions that do not concern watches. */
export function validateListOptions(options: ReadOptions): void {
  const { resourceVersionMatch: match, resourceVersion: version } = options;
  if (!match) return;
  const errors = [];
  if (!version) {
    errors.push(
      forbiddenField(
        'resourceVersionMatch',
        'resourceVersionMatch is forbidden unless resourceVersion is provided',
      ),
    );
  }
  if (options.continue) {
    errors.push(
      forbiddenField('resourceVersionMatch', 'resourceVersionMatch is forbidden when continue is provided'),
    );
  }
  if (match !== 'Exact' && match !== 'NotOlderThan') {
    errors.push(notSupported('resourceVersionMatch', match, ['Exact', 'NotOlderThan', '']));
  }
  if (match === 'Exact' && version === '0') {
    errors.push(
      forbiddenField(
        'resourceVersionMatch',
        'resourceVersionMatch "exact" is forbidden for resourceVersion "0"',
      ),
    );
  }
  if (errors.length > 0) throw invalid(LIST_OPTIONS, '', errors);
}

export class Reader {
  private readonly store: Store;

  constructor(store: Store) {
    this.store = store;
  }

  get(target: Target, served: Served, options: ReadOptions): KubeObject {
    const asked = revisionOf(options.resourceVersion);
    if (asked !== undefined && asked > this.store.revision)
      throw tooLargeRevision(asked, this.store.revision);
    const stored = this.store.get(served.bucket, objectKey(target.namespace, target.name ?? ''));
    if (!stored) throw notFound(target.info, target.name ?? '');
    return toVersion(served, stored.object);
  }

  list(target: Target, served: Served, options: ReadOptions): ListResult {
    validateListOptions(options);
    const selection = selectionOf(served, target, options);
    const { rows, revision, start } = this.snapshot(served, selection, options);
    const limit = options.limit && options.limit > 0 ? options.limit : Number.POSITIVE_INFINITY;
    const items: KubeObject[] = [];
    let index = start;
    for (; index < rows.length && items.length < limit; index += 1) {
      const { object } = rows[index] as Stored;
      if (selection.matches(object)) items.push(toVersion(served, object));
    }
    const result: ListResult = { items, resourceVersion: String(revision) };
    // There is more only if something that matches is left.
    while (index < rows.length && !selection.matches((rows[index] as Stored).object)) index += 1;
    if (index >= rows.length) return result;
    const last = items[items.length - 1] as KubeObject;
    result.continue = encodeContinue(revision, objectKey(last.metadata.namespace, last.metadata.name ?? ''));
    if (!selection.selective) result.remainingItemCount = rows.length - index;
    return result;
  }

  private snapshot(
    served: Served,
    selection: Selection,
    options: ReadOptions,
  ): { rows: readonly Stored[]; revision: number; start: number } {
    const current = this.store.revision;
    if (options.continue) {
      if (options.resourceVersion && options.resourceVersion !== '0') {
        throw badRequest('specifying resource version is not allowed when using continue');
      }
      const { revision, after } = decodeContinue(options.continue);
      const rows = this.at(served, revision, selection, () =>
        expired(
          'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.',
        ),
      );
      return { rows, revision, start: firstAfter(rows, after) };
    }
    const asked = revisionOf(options.resourceVersion);
    if (asked !== undefined && asked > current) throw tooLargeRevision(asked, current);
    const exact =
      asked !== undefined &&
      asked > 0 &&
      // With a limit, a plain resourceVersion means exactly that one, as in Kubernetes.
      (options.resourceVersionMatch === 'Exact' || (!options.resourceVersionMatch && options.limit));
    if (exact && asked !== current) {
      const rows = this.at(served, asked, selection, () =>
        expired(`The resourceVersion for the provided list is too old.`),
      );
      return { rows, revision: asked, start: 0 };
    }
    return { rows: this.now(served, selection), revision: current, start: 0 };
  }

  private now(served: Served, selection: Selection): readonly Stored[] {
    if (selection.key === undefined) return this.store.list(served.bucket, selection.prefix);
    const one = this.store.get(served.bucket, selection.key);
    return one ? [one] : [];
  }

  private at(
    served: Served,
    revision: number,
    selection: Selection,
    onTooOld: () => StatusError,
  ): readonly Stored[] {
    if (revision > this.store.revision) throw tooLargeRevision(revision, this.store.revision);
    try {
      return this.store.listAt(served.bucket, revision, selection.prefix);
    } catch (error) {
      if (error instanceof RevisionTooOld) throw onTooOld();
      throw error;
    }
  }
}

function firstAfter(rows: readonly Stored[], after: string): number {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const { metadata } = (rows[middle] as Stored).object;
    if (objectKey(metadata.namespace, metadata.name ?? '') > after) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The smallest key after a given one is that key with a zero byte at its end. */
const KEY_END = String.fromCharCode(0);

/** The shape of Kubernetes' tokens: base64 of {v, rv, start}, where start is the key to go on from. */
function encodeContinue(revision: number, lastKey: string): string {
  const token = { v: 'meta.k8s.io/v1', rv: revision, start: `${lastKey}${KEY_END}` };
  return Buffer.from(JSON.stringify(token)).toString('base64url');
}

function decodeContinue(token: string): { revision: number; after: string } {
  const refuse = (why: string): StatusError =>
    badRequest(`invalid continue token: continue key is not valid: ${why}`);
  const body = /^[A-Za-z0-9_-]*/.exec(token)?.[0] ?? '';
  if (body.length !== token.length) throw refuse(`illegal base64 data at input byte ${body.length}`);
  // Unpadded base64 never has one character left over a group of four.
  if (token.length % 4 === 1) throw refuse(`illegal base64 data at input byte ${token.length - 1}`);
  let value: { v?: unknown; rv?: unknown; start?: unknown };
  try {
    value = JSON.parse(Buffer.from(token, 'base64url').toString());
  } catch {
    throw refuse('it is no JSON');
  }
  const { v, rv, start } = value ?? {};
  if (v !== 'meta.k8s.io/v1' || typeof rv !== 'number' || typeof start !== 'string' || !(rv > 0)) {
    throw refuse('incorrect encoded start resourceVersion');
  }
  return { revision: rv, after: start.endsWith(KEY_END) ? start.slice(0, -1) : start };
}
