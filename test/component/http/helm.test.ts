// What Helm does with its calls, over HTTPS: install, upgrade (three-way patch as Helm 3, server-side apply as Helm 4),
// rollback and uninstall of a chart-like set of objects, with its releases in Secrets.
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { drive } from '../../golden/replay/drive.ts';
import { ReplayServer } from '../../golden/replay/replay-server.ts';
import type { Answer, ApiClient } from '../../support/api-fixture.ts';

const MERGE = 'application/merge-patch+json';
const STRATEGIC = 'application/strategic-merge-patch+json';
const APPLY = 'application/apply-patch+yaml';
const CORE = '/api/v1/namespaces/shop';
const APPS = '/apis/apps/v1/namespaces/shop';

let server: ReplayServer;
let client: ApiClient;
beforeAll(async () => {
  server = await ReplayServer.start();
  client = server.api.client();
  await ask('POST', '/api/v1/namespaces', { metadata: { name: 'shop' } });
}, 60_000);
afterAll(() => server.stop());

function ask(method: string, path: string, body?: unknown, type = 'application/json'): Promise<Answer> {
  const headers: Record<string, string> = body === undefined ? {} : { 'content-type': type };
  return drive(server.clock, client.ask(method, path, { ...(body === undefined ? {} : { body }), headers }));
}

interface Manifest {
  collection: string;
  object: { apiVersion: string; kind: string; metadata: { name: string; [more: string]: unknown } };
}

const LABELS = { 'app.kubernetes.io/managed-by': 'Helm', 'app.kubernetes.io/instance': 'web' };
const NOTES = { 'meta.helm.sh/release-name': 'web', 'meta.helm.sh/release-namespace': 'shop' };

function chart(image: string, replicas: number): Manifest[] {
  const metadata = { name: 'web', namespace: 'shop', labels: LABELS, annotations: NOTES };
  return [
    { collection: `${CORE}/serviceaccounts`, object: { apiVersion: 'v1', kind: 'ServiceAccount', metadata } },
    {
      collection: `${CORE}/configmaps`,
      object: {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata,
        data: { 'app.conf': `image=${image}\n` },
      } as never,
    },
    {
      collection: `${CORE}/services`,
      object: {
        apiVersion: 'v1',
        kind: 'Service',
        metadata,
        spec: { selector: { app: 'web' }, ports: [{ name: 'http', port: 80, targetPort: 'http' }] },
      } as never,
    },
    {
      collection: `${APPS}/deployments`,
      object: {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata,
        spec: {
          replicas,
          selector: { matchLabels: { app: 'web' } },
          template: {
            metadata: { labels: { app: 'web' } },
            spec: {
              serviceAccountName: 'web',
              containers: [{ name: 'web', image, ports: [{ name: 'http', containerPort: 8080 }] }],
            },
          },
        },
      } as never,
    },
  ];
}

/** Helm gzips the release, and base64s it before the API does once more. */
function releaseSecret(revision: number, status: string, manifests: Manifest[]): object {
  const release = JSON.stringify({ name: 'web', version: revision, info: { status }, manifest: manifests });
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'helm.sh/release.v1',
    metadata: {
      name: `sh.helm.release.v1.web.v${revision}`,
      labels: { name: 'web', owner: 'helm', status, version: String(revision), modifiedAt: '1770000000' },
    },
    data: { release: Buffer.from(gzipSync(release).toString('base64')).toString('base64') },
  };
}

const setStatus = (revision: number, status: string): Promise<Answer> =>
  ask(
    'PATCH',
    `${CORE}/secrets/sh.helm.release.v1.web.v${revision}`,
    { metadata: { labels: { status } } },
    MERGE,
  );

async function releases(selector: string): Promise<string[]> {
  const { body } = await ask('GET', `${CORE}/secrets?labelSelector=${encodeURIComponent(selector)}`);
  return body.items.map(({ metadata }: { metadata: { name: string } }) => metadata.name);
}

const urlOf = ({ collection, object }: Manifest): string => `${collection}/${object.metadata.name}`;

test('capabilities: the version and what is served', async () => {
  const { body: version } = await ask('GET', '/version');
  expect(version).toMatchObject({ major: '1', minor: '36' });
  expect(version.gitVersion).toMatch(/^v1\.36\.\d+\+copepod/);
  const { body: groups } = await ask('GET', '/apis');
  for (const { groupVersion } of groups.groups.flatMap((group: { versions: object[] }) => group.versions)) {
    expect((await ask('GET', `/apis/${groupVersion}`)).body.kind, groupVersion).toBe('APIResourceList');
  }
});

test('install: nothing exists, a hook runs and goes, the release becomes deployed', async () => {
  const manifests = chart('web:1', 1);
  for (const manifest of manifests) expect((await ask('GET', urlOf(manifest))).status).toBe(404);
  expect((await ask('POST', `${CORE}/secrets`, releaseSecret(1, 'pending-install', manifests))).status).toBe(
    201,
  );
  const hook = {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name: 'web-migrate',
      annotations: {
        'helm.sh/hook': 'pre-install',
        'helm.sh/hook-delete-policy': 'before-hook-creation,hook-succeeded',
      },
    },
    spec: { template: { spec: { restartPolicy: 'Never', containers: [{ name: 'm', image: 'm:1' }] } } },
  };
  const jobs = '/apis/batch/v1/namespaces/shop/jobs';
  // before-hook-creation: what an earlier install may have left.
  expect((await ask('DELETE', `${jobs}/web-migrate?propagationPolicy=Background`)).status).toBe(404);
  expect((await ask('POST', jobs, hook)).status).toBe(201);
  const conditions = ['SuccessCriteriaMet', 'Complete'].map((type) => ({
    type,
    status: 'True',
    lastTransitionTime: '2026-01-01T00:00:00Z',
  }));
  // Its controller has told the start; what has ended has no pods that run.
  const now = (await ask('GET', `${jobs}/web-migrate`)).body.status ?? {};
  const times = { startTime: '2026-01-01T00:00:00Z', ...now, completionTime: '2026-01-01T00:00:00Z' };
  const done = { status: { ...times, succeeded: 1, active: 0, ready: 0, conditions } };
  expect((await ask('PATCH', `${jobs}/web-migrate/status`, done, MERGE)).status).toBe(200);
  expect((await ask('DELETE', `${jobs}/web-migrate`, { propagationPolicy: 'Background' })).status).toBe(200);
  for (const { collection, object } of manifests) {
    const created = await ask('POST', `${collection}?fieldManager=helm&fieldValidation=Strict`, object);
    expect(created.status, created.body.message).toBe(201);
    expect(created.headers.warning).toBeUndefined();
  }
  expect((await setStatus(1, 'deployed')).status).toBe(200);
  expect(await releases('owner=helm,status in (deployed,pending-install)')).toEqual([
    'sh.helm.release.v1.web.v1',
  ]);
  const stored = await ask('GET', `${CORE}/secrets/sh.helm.release.v1.web.v1`);
  const once = Buffer.from(stored.body.data.release, 'base64').toString();
  expect(JSON.parse(gunzipSync(Buffer.from(once, 'base64')).toString())).toMatchObject({
    name: 'web',
    version: 1,
  });
});

test('readiness is found as Helm finds it: generation observed, the newest ReplicaSet rolled out', async () => {
  const { body: deployment } = await ask('GET', `${APPS}/deployments/web`);
  const sets = await ask('GET', `${APPS}/replicasets?labelSelector=app%3Dweb`);
  const [newest] = sets.body.items;
  expect(sets.body.items).toHaveLength(1);
  expect(deployment.status.observedGeneration).toBe(deployment.metadata.generation);
  expect(newest.metadata.ownerReferences).toMatchObject([
    { kind: 'Deployment', name: 'web', controller: true },
  ]);
  // Nothing runs here: Helm would wait.
  expect(deployment.status.readyReplicas ?? 0).toBe(0);
});

test('upgrade as Helm 3: a three-way patch keeps what others set; then rollback', async () => {
  // A controller of somebody's adds a sidecar, an administrator scales.
  const live = {
    spec: { replicas: 3, template: { spec: { containers: [{ name: 'proxy', image: 'p:1' }] } } },
  };
  expect((await ask('PATCH', `${APPS}/deployments/web`, live, STRATEGIC)).status).toBe(200);
  expect(
    (await ask('POST', `${CORE}/secrets`, releaseSecret(2, 'pending-upgrade', chart('web:2', 1)))).status,
  ).toBe(201);
  const patch = {
    spec: {
      template: { spec: { containers: [{ name: 'web', image: 'web:2' }] } },
    },
  };
  const patched = await ask('PATCH', `${APPS}/deployments/web?fieldManager=helm`, patch, STRATEGIC);
  expect(patched.body.spec.replicas).toBe(3);
  expect(
    patched.body.spec.template.spec.containers.map(({ image }: { image: string }) => image).sort(),
  ).toEqual(['p:1', 'web:2']);
  expect(patched.body.metadata.generation).toBe(3);
  await setStatus(1, 'superseded');
  await setStatus(2, 'deployed');
  expect(await releases('name=web,owner=helm,status=superseded')).toEqual(['sh.helm.release.v1.web.v1']);
  const back = { spec: { template: { spec: { containers: [{ name: 'web', image: 'web:1' }] } } } };
  expect((await ask('PATCH', `${APPS}/deployments/web`, back, STRATEGIC)).status).toBe(200);
  expect((await ask('POST', `${CORE}/secrets`, releaseSecret(3, 'deployed', chart('web:1', 1)))).status).toBe(
    201,
  );
  await setStatus(2, 'superseded');
  expect(await releases('owner=helm,status notin (superseded)')).toEqual(['sh.helm.release.v1.web.v3']);
});

test('upgrade as Helm 4: server-side apply, after a dry run, with a conflict that force resolves', async () => {
  const [, config, , deployment] = chart('web:4', 2) as [Manifest, Manifest, Manifest, Manifest];
  const path = `${urlOf(deployment)}?fieldManager=helm4`;
  const dry = await ask('PATCH', `${path}&dryRun=All&force=true`, deployment.object, APPLY);
  expect(dry.body.spec.replicas).toBe(2);
  expect((await ask('GET', urlOf(deployment))).body.spec.replicas).toBe(3);
  const refused = await ask('PATCH', path, deployment.object, APPLY);
  expect(refused.status).toBe(409);
  expect(refused.body.details.causes.map(({ field }: { field: string }) => field)).toContain(
    '.spec.replicas',
  );
  const forced = await ask('PATCH', `${path}&force=true`, deployment.object, APPLY);
  expect(forced.status).toBe(200);
  expect(forced.body.spec.template.spec.containers).toHaveLength(2);
  expect(
    (await ask('PATCH', `${urlOf(config)}?fieldManager=helm4&force=true`, config.object, APPLY)).status,
  ).toBe(200);
});

test('uninstall: everything goes in the background, and the release with it', async () => {
  for (const manifest of chart('web:4', 2).reverse()) {
    const deleted = await ask('DELETE', urlOf(manifest), { propagationPolicy: 'Background' });
    expect(deleted.status).toBe(200);
  }
  for (const revision of [1, 2, 3]) {
    expect((await ask('DELETE', `${CORE}/secrets/sh.helm.release.v1.web.v${revision}`)).status).toBe(200);
  }
  expect(await releases('owner=helm')).toEqual([]);
  for (let turn = 0; turn < 100; turn += 1) {
    if ((await ask('GET', `${APPS}/replicasets`)).body.items.length === 0) return;
    await server.clock.advance(1000);
  }
  throw new Error('the ReplicaSets have not gone');
});
