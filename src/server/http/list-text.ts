// A list as JSON, row by row: a list of ten thousand objects is never one string.
import type { ResourceInfo } from '../../api/catalogue.ts';
import type { KubeObject } from '../../api/object.ts';
import { apiVersionOf } from '../../api/resource.ts';
import type { ListResult } from '../registry/port.ts';
import type { AnswerForm } from './negotiation.ts';
import { type IncludeObject, type ListMeta, shownMetadata, type TableWriter } from './table.ts';

/** A JSON object whose last field is a list: the other fields, the list's name, and its elements one by one. */
export interface ListText {
  readonly head: object;
  readonly field: 'items' | 'rows';
  readonly elements: Iterable<object>;
  /** The text of an element, where it can be had cheaper than by JSON.stringify. */
  readonly text?: (element: object) => string;
}

export function listMeta({ items: _items, ...rest }: ListResult): ListMeta {
  return {
    resourceVersion: rest.resourceVersion,
    ...(rest.continue === undefined ? {} : { continue: rest.continue }),
    ...(rest.remainingItemCount === undefined ? {} : { remainingItemCount: rest.remainingItemCount }),
  };
}

/** A list of objects as themselves. */
export function objectList(info: ResourceInfo, result: ListResult): ListText {
  const apiVersion = apiVersionOf(info);
  const meta = listMeta(result);
  return {
    head: {
      kind: info.listKind ?? `${info.kind}List`,
      apiVersion,
      // Lists of custom resources are of no Go type that could leave an empty one out.
      metadata: info.custom ? { continue: '', ...meta } : meta,
    },
    field: 'items',
    elements: result.items,
    // Typed lists leave out what the list's kind says already; those of custom resources do not.
    ...(info.custom ? {} : { text: withoutType(info.kind, apiVersion) }),
  };
}

/** Cuts kind and apiVersion off the front of the text, where all our objects have them: cheaper than a copy of each. */
function withoutType(kind: string, apiVersion: string): (object: object) => string {
  const front = `{"kind":${JSON.stringify(kind)},"apiVersion":${JSON.stringify(apiVersion)},`;
  return (object) => {
    const text = JSON.stringify(object);
    if (text.startsWith(front)) return `{${text.slice(front.length)}`;
    const { kind: _kind, apiVersion: _version, ...rest } = object as KubeObject;
    return JSON.stringify(rest);
  };
}

export function metadataList(result: ListResult, metaVersion: string): ListText {
  const front = `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/${metaVersion}","metadata":`;
  return {
    head: {
      kind: 'PartialObjectMetadataList',
      apiVersion: `meta.k8s.io/${metaVersion}`,
      metadata: listMeta(result),
    },
    field: 'items',
    elements: result.items,
    text: (item) => `${front}${JSON.stringify(shownMetadata(item as KubeObject))}}`,
  };
}

export function tableList(
  info: ResourceInfo,
  result: ListResult,
  writer: TableWriter,
  options: { include: IncludeObject; form: AnswerForm; now: number },
): ListText {
  const { head, row } = writer.begin(info, result.items[0], {
    meta: listMeta(result),
    include: options.include,
    metaVersion: options.form.metaVersion,
    now: options.now,
    withColumns: true,
  });
  return { head, field: 'rows', elements: mapped(result.items, row) };
}

function* mapped<T, U>(items: readonly T[], map: (item: T) => U): Iterable<U> {
  for (const item of items) yield map(item);
}

/** The text in pieces, each an element or so long; `indent` as JSON.stringify with two spaces. */
export function* listPieces({ head, field, elements, text }: ListText, indent: boolean): Iterable<string> {
  const [gap, inner] = indent ? ['\n', '\n    '] : ['', ''];
  const front = indent ? JSON.stringify(head, null, 2).slice(0, -2) : JSON.stringify(head).slice(0, -1);
  yield indent ? `${front},\n  "${field}": [` : `${front},"${field}":[`;
  let first = true;
  for (const element of elements) {
    const own = (text ?? JSON.stringify)(element);
    // Line breaks inside of strings are escaped: those that are left are the layout's.
    const shown = indent ? JSON.stringify(JSON.parse(own), null, 2).replaceAll('\n', inner) : own;
    yield `${first ? '' : ','}${inner}${shown}`;
    first = false;
  }
  yield `${first || !indent ? '' : '\n  '}]${gap}}\n`;
}

/** The whole, for what is not written piece by piece. */
export function wholeList({ head, field, elements, text }: ListText): object {
  const plain = text
    ? (element: object) => JSON.parse(text(element)) as object
    : (element: object) => element;
  return { ...head, [field]: [...mapped([...elements], plain)] };
}
