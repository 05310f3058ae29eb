import type { RawSchema } from './openapi-documents.ts';

/** By schema: what the object is (under ''), and what its fields mean. */
export type FieldDocs = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** Read when somebody asks for documents, and left to the garbage collector with them. */
export async function loadFieldDocs(): Promise<FieldDocs> {
  return (await import('../../api/data/field-docs.json', { with: { type: 'json' } })).default as FieldDocs;
}

/** What every object has. */
const COMMON: Readonly<Record<string, string>> = {
  apiVersion: 'Group and version of the API that this object is written in.',
  kind: 'The kind of object that this is.',
  metadata: 'What every object has: name, namespace, labels, annotations, owners.',
  spec: 'What is wanted.',
  status: 'What is found; written by the system, read-only for users.',
  items: 'The objects of the list.',
};

/** The schemas with descriptions where there are none. The given ones are not changed. */
export function documented(schemas: ReadonlyMap<string, RawSchema>, docs: FieldDocs): Map<string, RawSchema> {
  return new Map([...schemas].map(([name, schema]) => [name, describe(schema, docs[name] ?? {})] as const));
}

function describe(schema: RawSchema, docs: Readonly<Record<string, string>>): RawSchema {
  const { properties } = schema as { properties?: Record<string, RawSchema> };
  const isObject = schema['x-kubernetes-group-version-kind'] !== undefined;
  const textOf = (field: string): string | undefined =>
    docs[field] ?? (isObject && Object.hasOwn(COMMON, field) ? COMMON[field] : undefined);
  const text = docs[''];
  return {
    ...(text === undefined ? {} : { description: text }),
    ...schema,
    ...(properties && {
      properties: Object.fromEntries(
        Object.entries(properties).map(([field, child]) => [field, withText(child, textOf(field))]),
      ),
    }),
  };
}

/** In OpenAPI v3 nothing may stand beside a reference: it goes into allOf. */
function withText(schema: RawSchema, text: string | undefined): RawSchema {
  if (text === undefined || schema.description !== undefined) return schema;
  if (schema.$ref === undefined) return { description: text, ...schema };
  const { $ref, ...rest } = schema;
  return { description: text, ...rest, allOf: [{ $ref }] };
}
