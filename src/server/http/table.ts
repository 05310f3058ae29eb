import type { ResourceInfo } from '../../api/catalogue.ts';
import { badRequest } from '../../api/errors.ts';
import type { KubeObject } from '../../api/object.ts';
import { apiVersionOf } from '../../api/resource.ts';
import type { Pod } from '../../api/types/core-v1.ts';
import type { TableCells, TableColumn } from './ports.ts';

/** The shape of data/table-columns.json: by `<group>/<version>/<resource>`, core without group. */
export type TableColumns = Readonly<Record<string, readonly TableColumn[]>>;
/** Descriptions of columns by the same key and the column's name. */
export type ColumnDescriptions = Readonly<Record<string, Readonly<Record<string, string>>>>;

export type IncludeObject = 'Metadata' | 'Object' | 'None';

export function includeObject(query: URLSearchParams): IncludeObject {
  const value = query.get('includeObject') ?? '';
  if (value === '' || value === 'Metadata') return 'Metadata';
  if (value === 'Object' || value === 'None') return value;
  throw badRequest(
    `Unable to convert to Table as requested: includeObject: Invalid value: ${JSON.stringify(value)}: must be 'Metadata', 'Object', 'None', or empty`,
  );
}

export interface TableOptions {
  meta: ListMeta;
  include: IncludeObject;
  metaVersion: string;
  now: number;
  /** False for the second and later events of a watch: their column definitions are null. */
  withColumns: boolean;
}

export interface ListMeta {
  resourceVersion?: string;
  continue?: string;
  remainingItemCount?: number;
}

/** Makes meta.k8s.io Tables out of objects. */
export class TableWriter {
  private readonly columns: TableColumns;
  private readonly descriptions: ColumnDescriptions;
  private readonly cells: TableCells;

  constructor(options: { columns: TableColumns; descriptions: ColumnDescriptions; cells: TableCells }) {
    this.columns = options.columns;
    this.descriptions = options.descriptions;
    this.cells = options.cells;
  }

  /** A whole Table. */
  table(info: ResourceInfo, objects: readonly KubeObject[], options: TableOptions): object {
    const { head, row } = this.begin(info, objects[0], options);
    return { ...head, rows: objects.map(row) };
  }

  /** A Table without its rows, and how a row is made of an object. `sample`: one of the objects, where there are any. */
  begin(
    info: ResourceInfo,
    sample: KubeObject | undefined,
    options: TableOptions,
  ): { head: object; row: (object: KubeObject) => object } {
    const apiVersion = `meta.k8s.io/${options.metaVersion}`;
    const known = sample?.kind === 'Scale' ? SCALE_COLUMNS : this.definitions(info);
    const cellsOf = (object: KubeObject) => this.cells.cells(info, object, options.now);
    // Columns of the type need cells of the type: where nobody knows how to print it, name and creation have to do.
    const complete = known !== undefined && (sample === undefined || cellsOf(sample) !== undefined);
    const columns = complete ? known : FALLBACK_COLUMNS;
    return {
      head: {
        kind: 'Table',
        apiVersion,
        metadata: options.meta,
        columnDefinitions: options.withColumns ? columns : null,
      },
      row: (object) => {
        const conditions = rowConditions(info, object);
        return {
          cells: (complete ? cellsOf(object) : undefined) ?? fallbackCells(object),
          ...(conditions ? { conditions } : {}),
          object: included(object, options.include, apiVersion),
        };
      },
    };
  }

  private definitions(info: ResourceInfo): object[] | undefined {
    const key = `${apiVersionOf(info)}/${info.resource}`;
    const columns = info.custom ? this.cells.columns?.(info) : this.columns[key];
    const descriptions = this.descriptions[key] ?? {};
    return columns?.map(({ name, type, format = '', priority = 0, description }) => ({
      name,
      type,
      format,
      description: description ?? descriptions[name] ?? STANDARD_DESCRIPTIONS[name] ?? '',
      priority,
    }));
  }
}

const NAME_DESCRIPTION =
  'Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names';
const CREATED_DESCRIPTION =
  'CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata';
const STANDARD_DESCRIPTIONS: Readonly<Record<string, string>> = {
  Name: NAME_DESCRIPTION,
  Age: CREATED_DESCRIPTION,
};

/** The scale of an object is none of its resource: it has columns of its own. */
const SCALE_COLUMNS = [
  { name: 'Name', type: 'string', format: 'name', description: NAME_DESCRIPTION, priority: 0 },
  {
    name: 'Desired',
    type: 'integer',
    format: '',
    description: 'replicas is the desired number of instances for the scaled object.',
    priority: 0,
  },
  {
    name: 'Available',
    type: 'integer',
    format: '',
    description: 'replicas is the actual number of observed instances of the scaled object.',
    priority: 0,
  },
  { name: 'Age', type: 'string', format: '', description: CREATED_DESCRIPTION, priority: 0 },
];

/** What Kubernetes prints of a type that has no columns of its own. */
const FALLBACK_COLUMNS = [
  { name: 'Name', type: 'string', format: 'name', description: NAME_DESCRIPTION, priority: 0 },
  { name: 'Created At', type: 'date', format: '', description: CREATED_DESCRIPTION, priority: 0 },
];

function fallbackCells(object: KubeObject): string[] {
  return [object.metadata.name ?? '', object.metadata.creationTimestamp ?? ''];
}

function included(object: KubeObject, include: IncludeObject, apiVersion: string): object | null {
  if (include === 'None') return null;
  if (include === 'Object') return object;
  return { kind: 'PartialObjectMetadata', apiVersion, metadata: shownMetadata(object) };
}

/** A field of the DaemonSet's first version that its later ones carry as an annotation: not metadata of its own. */
const TEMPLATE_GENERATION = 'deprecated.daemonset.template.generation';

export function shownMetadata({ kind, metadata }: KubeObject): KubeObject['metadata'] {
  if (kind !== 'DaemonSet' || metadata.annotations?.[TEMPLATE_GENERATION] === undefined) return metadata;
  const { [TEMPLATE_GENERATION]: _field, ...annotations } = metadata.annotations;
  const { annotations: _all, ...rest } = metadata;
  return Object.keys(annotations).length === 0 ? rest : { ...rest, annotations };
}

/** Pods that are done are marked, so that `kubectl get` can leave them out or colour them. */
function rowConditions(info: ResourceInfo, object: KubeObject): object[] | undefined {
  if (info.group !== '' || info.resource !== 'pods') return undefined;
  const { phase } = (object as Pod).status ?? {};
  const completed = (reason: string, message: string): object[] => [
    { type: 'Completed', status: 'True', reason, message },
  ];
  if (phase === 'Succeeded') return completed('Succeeded', 'The pod has completed successfully.');
  if (phase === 'Failed') return completed('Failed', 'The pod failed.');
  return undefined;
}

/** PartialObjectMetadata of one object. */
export function partial(object: KubeObject, metaVersion: string): object {
  return {
    kind: 'PartialObjectMetadata',
    apiVersion: `meta.k8s.io/${metaVersion}`,
    metadata: shownMetadata(object),
  };
}
