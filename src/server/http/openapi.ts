import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import type { Catalogue, ResourceInfo } from '../../api/catalogue.ts';
import type { Clock, Timer } from '../../lib/clock.ts';
import { documented, loadFieldDocs } from './field-docs.ts';
import { closure, openApiV2, openApiV3, type RawSchema } from './openapi-documents.ts';
import { operationsOf, PATCH_SCHEMA } from './openapi-operations.ts';
import type { CustomSchemas } from './ports.ts';

/** A document nobody asked for this long is dropped: they are big, and kubectl keeps its own copy. */
const IDLE_MS = 5 * 60_000;

export interface OpenApiDocument {
  /** gzip of the JSON, or of the protobuf. */
  compressed: Buffer;
  etag: string;
}

export interface OpenApiOptions {
  catalogue: Catalogue;
  /** Reads data/schemas.json, or hands out what is in memory anyway. */
  loadSchemas: () => Promise<Readonly<Record<string, RawSchema>>>;
  custom: CustomSchemas;
  clock: Clock;
  /** v1.36.0+copepod.1.2.3 */
  version: string;
}

/** Documents with paths but no resources: Kubernetes lists these too. */
const PLAIN_PATHS = ['.well-known/openid-configuration', 'api', 'apis', 'openid/v1/jwks', 'version'];

/** /openapi/v2 and /openapi/v3, made when asked for out of catalogue and schemas, kept compressed for a while. */
export class OpenApi {
  private readonly options: OpenApiOptions;
  private readonly cache = new Map<string, OpenApiDocument>();
  private idle: Timer | undefined;

  constructor(options: OpenApiOptions) {
    this.options = options;
  }

  /** Call once: documents made before a change of the catalogue are stale. */
  start(): void {
    this.options.catalogue.onChange(() => this.cache.clear());
  }

  stop(): void {
    this.idle?.cancel();
    this.cache.clear();
  }

  /** GET /openapi/v3 */
  index(): { paths: Record<string, { serverRelativeURL: string }> } {
    const paths = [...this.documentPaths()].sort();
    return {
      paths: Object.fromEntries(
        paths.map((path) => [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${this.hash(path)}` }]),
      ),
    };
  }

  /** The hash that the index names for a document: clients cache by it for good. */
  hash(path: string): string {
    const resources = this.resourcesAt(path);
    return createHash('sha256')
      .update(JSON.stringify([this.options.version, path, resources, this.customRevisions(resources)]))
      .digest('hex')
      .toUpperCase();
  }

  /** GET /openapi/v3/<path>; undefined when there is no such document. */
  async v3(path: string): Promise<OpenApiDocument | undefined> {
    if (!this.documentPaths().has(path)) return undefined;
    return this.cached(`v3/${path}`, async () => {
      const resources = this.resourcesAt(path);
      const { operations, schemas } = await this.gather(resources);
      const version = this.options.version;
      const document = openApiV3({ version, operations, schemas }) as { paths: Record<string, unknown> };
      if (operations.length === 0)
        document.paths[`/${path}${path.includes('openid') || path === 'version' ? '' : '/'}`] = { get: READ };
      return document;
    });
  }

  /** GET /openapi/v2 */
  v2(): Promise<OpenApiDocument> {
    return this.cached('v2', async () => {
      const { operations, schemas } = await this.gather(this.options.catalogue.all());
      return openApiV2({ version: this.options.version, operations, schemas });
    });
  }

  /** The same for clients that take protobuf only. */
  v2Protobuf(): Promise<OpenApiDocument> {
    return this.cached('v2.pb', async () => {
      const { openApiV2Protobuf } = await import('./openapi-protobuf.ts');
      const { operations, schemas } = await this.gather(this.options.catalogue.all());
      return openApiV2Protobuf(openApiV2({ version: this.options.version, operations, schemas }));
    });
  }

  private documentPaths(): Set<string> {
    const paths = new Set(PLAIN_PATHS);
    for (const { group, version } of this.options.catalogue.groupVersions()) {
      if (group === '') {
        paths.add(`api/${version}`);
      } else {
        paths.add(`apis/${group}`);
        paths.add(`apis/${group}/${version}`);
      }
    }
    return paths;
  }

  private resourcesAt(path: string): ResourceInfo[] {
    const [root, ...rest] = path.split('/');
    const [group, version] = root === 'api' ? ['', rest[0]] : [rest[0], rest[1]];
    if (version === undefined || (root !== 'api' && root !== 'apis')) return [];
    return this.options.catalogue.all().filter((info) => info.group === group && info.version === version);
  }

  private customRevisions(resources: readonly ResourceInfo[]): unknown[] {
    return resources.filter(({ custom }) => custom).map((info) => this.options.custom.schema(info));
  }

  private async gather(resources: readonly ResourceInfo[]) {
    const known = await this.options.loadSchemas();
    const custom = new Map<string, RawSchema>();
    const byKind = new Map<string, string>();
    for (const [name, schema] of Object.entries(known)) {
      const kinds = schema['x-kubernetes-group-version-kind'] as GroupVersionKind[] | undefined;
      for (const { group, version, kind } of kinds ?? []) byKind.set(`${group}/${version}/${kind}`, name);
    }
    for (const info of resources) {
      if (!info.custom) continue;
      const name = [...info.group.split('.').reverse(), info.version, info.kind].join('.');
      const gvk = { group: info.group, version: info.version, kind: info.kind };
      const schema = this.options.custom.schema(info) ?? { type: 'object' };
      custom.set(name, { ...schema, 'x-kubernetes-group-version-kind': [gvk] });
      byKind.set(`${info.group}/${info.version}/${info.kind}`, name);
      custom.set(`${name}List`, listSchema(info, name));
      byKind.set(`${info.group}/${info.version}/${info.kind}List`, `${name}List`);
    }
    const schemaOf = (group: string, version: string, kind: string): string | undefined =>
      byKind.get(`${group}/${version}/${kind}`);
    const resolved = resources.map((info) => (info.custom ? { ...info, schema: undefined } : info));
    const operations = operationsOf(resolved, schemaOf);
    const roots = operations
      .flatMap(({ body, answer }) => [body, answer])
      .filter((name) => name !== undefined);
    const schemas = closure(roots, (name) =>
      name === PATCH_SCHEMA ? { type: 'object' } : (custom.get(name) ?? known[name]),
    );
    return { operations, schemas: documented(schemas, await loadFieldDocs()) };
  }

  private async cached(key: string, make: () => Promise<object | Buffer>): Promise<OpenApiDocument> {
    this.idle?.cancel();
    this.idle = this.options.clock.after(IDLE_MS, () => this.cache.clear());
    const found = this.cache.get(key);
    if (found) return found;
    const made = await make();
    const content = Buffer.isBuffer(made) ? made : JSON.stringify(made);
    const etag = `"${createHash('sha256').update(content).digest('hex').toUpperCase()}"`;
    const document = { compressed: gzipSync(content, { level: 6 }), etag };
    this.cache.set(key, document);
    return document;
  }
}

function listSchema(info: ResourceInfo, item: string): RawSchema {
  const kind = info.listKind ?? `${info.kind}List`;
  return {
    type: 'object',
    required: ['items'],
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: { $ref: 'io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta' },
      items: { type: 'array', items: { $ref: item } },
    },
    'x-kubernetes-group-version-kind': [{ group: info.group, version: info.version, kind }],
  };
}

interface GroupVersionKind {
  group: string;
  version: string;
  kind: string;
}

const READ = {
  operationId: 'get',
  responses: {
    '200': { description: 'OK', content: { 'application/json': { schema: { type: 'object' } } } },
  },
};
