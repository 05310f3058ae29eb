import { expect } from 'vitest';
import { type Answer, type ApiClient, ApiFixture } from './api-fixture.ts';

/** One change of one object, and what the API says to it. */
export interface UpdateRow {
  what: string;
  /** `apps/v1/deployments`, `v1/pods`; cluster-scoped kinds begin with a slash. */
  kind: string;
  base: object;
  /** Written to the status first. */
  status?: object;
  /** A merge patch. */
  change: object;
  subresource?: string;
  /** `field: message` of each cause; one that ends in … only has to begin so. Empty: the change is accepted. */
  refused: string[];
  /** What the object shows afterwards, in part. */
  shows?: object;
}

/** An API whose objects are made, changed and read over HTTP. */
export class UpdateProbe {
  readonly client: ApiClient;
  private readonly api: ApiFixture;
  private count = 0;

  private constructor(api: ApiFixture) {
    this.api = api;
    this.client = api.client();
  }

  static async start(): Promise<UpdateProbe> {
    const probe = new UpdateProbe(await ApiFixture.start());
    // Pods and Jobs want one.
    await probe.make('v1/serviceaccounts', {}, 'default');
    return probe;
  }

  stop(): Promise<void> {
    return this.api.stop();
  }

  /** The path of the object made. */
  async make(kind: string, base: object, name = this.freshName()): Promise<string> {
    const { metadata = {}, ...rest } = base as { metadata?: object };
    const made = await this.client.post(collection(kind), { metadata: { name, ...metadata }, ...rest });
    expect(made.status, made.text).toBe(201);
    return `${collection(kind)}/${made.body.metadata.name}`;
  }

  merge(path: string, body: object): Promise<Answer> {
    return this.client.ask('PATCH', path, {
      body,
      headers: { 'content-type': 'application/merge-patch+json' },
    });
  }

  put(path: string, body: object): Promise<Answer> {
    return this.client.ask('PUT', path, { body });
  }

  async check({ kind, base, status, change, subresource, refused, shows }: UpdateRow): Promise<void> {
    const path = await this.make(kind, base);
    if (status) expect((await this.merge(`${path}/status`, { status })).status).toBe(200);
    const answer = await this.merge(subresource ? `${path}/${subresource}` : path, change);
    if (refused.length === 0) expect(answer.status, answer.text).toBe(200);
    else {
      expect(causes(answer, refused)).toEqual(refused);
      expect([answer.status, answer.body.reason]).toEqual([422, 'Invalid']);
    }
    if (shows) expect((await this.client.get(path)).body).toMatchObject(shows);
  }

  private freshName(): string {
    this.count += 1;
    return `row-${this.count}`;
  }
}

export function collection(kind: string): string {
  const parts = kind.replace(/^\//, '').split('/');
  const resource = parts.pop();
  const root = parts.length === 1 ? `/api/${parts[0]}` : `/apis/${parts.join('/')}`;
  return kind.startsWith('/') ? `${root}/${resource}` : `${root}/namespaces/default/${resource}`;
}

/** The causes of a refusal; where the wanted one ends in … and begins like what was told, the wanted one. */
function causes({ body }: Answer, wanted: string[]): string[] {
  const told: { field: string; message: string }[] = body.details?.causes ?? [];
  return told.map(({ field, message }, index) => {
    const text = `${field}: ${message}`;
    const want = wanted[index] ?? '';
    return want.endsWith('…') && text.startsWith(want.slice(0, -1)) ? want : text;
  });
}
