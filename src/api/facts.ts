// The data files, loaded when first needed: a process that never serves the API (an agent) pays nothing for them.
import type { JsonObject } from './object.ts';
import type { SchemaFile } from './schema.ts';

export interface TableColumn {
  name: string;
  type: string;
  format?: string;
  priority: number;
}

export async function loadResourceFacts(): Promise<{ resources: never[] }> {
  return (await import('./data/resources.json', { with: { type: 'json' } })).default as never;
}

export async function loadSchemaFacts(): Promise<SchemaFile> {
  return (await import('./data/schemas.json', { with: { type: 'json' } })).default as never;
}

/** By `v1/pods`, `apps/v1/deployments`. */
export async function loadTableColumns(): Promise<Record<string, TableColumn[]>> {
  return (await import('./data/table-columns.json', { with: { type: 'json' } })).default as never;
}

/** What a Kubernetes API server creates by itself at its first start. */
export async function loadBootstrapObjects(): Promise<JsonObject[]> {
  return (await import('./data/bootstrap-objects.json', { with: { type: 'json' } })).default.items as never;
}
