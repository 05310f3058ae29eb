import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SystemClock } from '../../../src/lib/clock.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { AuditLog, type AuditLogOptions } from '../../../src/server/http/audit-log.ts';
import { AuditPolicyError, readAuditPolicy } from '../../../src/server/http/audit-policy.ts';
import { ApiFixture } from '../../support/api-fixture.ts';
import { waitFor } from '../../support/wait.ts';

let folder: string;
let path: string;
let api: ApiFixture;
let audit: AuditLog;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'copepod-audit-'));
  path = join(folder, 'logs', 'audit.log');
});
afterEach(async () => {
  await api.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function start(options: Partial<AuditLogOptions> = {}): Promise<void> {
  audit = new AuditLog({
    path,
    maxSize: 10,
    maxAge: 0,
    maxBackups: 2,
    clock: new SystemClock(),
    logger: silentLogger,
    ...options,
  });
  await audit.start();
  api = await ApiFixture.start({ server: { audit } });
}

// biome-ignore lint/suspicious/noExplicitAny: events of every form.
const events = (): any[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

const SECRETS = '/api/v1/namespaces/default/secrets';

test('who did what is told, without bodies', async () => {
  await start();
  const client = api.client();
  await client.post(SECRETS, { metadata: { name: 's' }, stringData: { password: 'correct horse' } });
  await client.get(`${SECRETS}/s`, { headers: { 'user-agent': 'tester/1', 'audit-id': 'mine' } });
  await client.get(`${SECRETS}/none`);
  await client.get('/api/v1/pods', { headers: { 'impersonate-user': 'nobody' } });
  await api.client({}).get('/api/v1/pods');
  await client.get('/livez');
  await client.get('/apis/apps/v1');
  await audit.stop();
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readFileSync(path, 'utf8')).not.toContain('correct horse');
  const all = events();
  expect(
    all.map(({ verb, objectRef, responseStatus }) => [verb, objectRef?.resource, responseStatus.code]),
  ).toEqual([
    ['create', 'secrets', 201],
    ['get', 'secrets', 200],
    ['get', 'secrets', 404],
    ['list', 'pods', 403],
    ['list', 'pods', 401],
  ]);
  expect(all[1]).toMatchObject({
    kind: 'Event',
    apiVersion: 'audit.k8s.io/v1',
    level: 'Metadata',
    stage: 'ResponseComplete',
    auditID: 'mine',
    requestURI: `${SECRETS}/s`,
    user: { username: 'system:admin', groups: expect.arrayContaining(['system:masters']) },
    sourceIPs: [expect.stringMatching(/^[\d.]+$/)],
    userAgent: 'tester/1',
    objectRef: { resource: 'secrets', namespace: 'default', name: 's', apiVersion: 'v1' },
    annotations: { 'authorization.k8s.io/decision': 'allow' },
  });
  expect(all[1].requestReceivedTimestamp).toMatch(/^\d{4}-.*\.\d{6}Z$/);
  expect(all[2].responseStatus).toMatchObject({ status: 'Failure', reason: 'NotFound' });
  expect(all[3]).toMatchObject({
    impersonatedUser: { username: 'nobody' },
    annotations: { 'authorization.k8s.io/decision': 'forbid' },
  });
  expect(all[4].user).toEqual({});
});

test('a watch is told of when it begins and when it ends', async () => {
  await start();
  await api.client().get(`${SECRETS}?watch=true&timeoutSeconds=1`);
  await waitFor('both events', async () => events().length === 2);
  expect(events().map(({ verb, stage }) => [verb, stage])).toEqual([
    ['watch', 'ResponseStarted'],
    ['watch', 'ResponseComplete'],
  ]);
  expect(events()[0].auditID).toBe(events()[1].auditID);
});

test('a full file is put aside, and only some of these are kept', async () => {
  await start({ maxSize: 0.002 });
  const client = api.client();
  for (let round = 0; round < 5; round += 1) {
    for (let index = 0; index < 6; index += 1) await client.get(`${SECRETS}/x`);
    const before = audit.counts.written;
    await waitFor('the events to be written', async () => audit.counts.written > before, { timeoutMs: 5000 });
  }
  await audit.stop();
  const files = readdirSync(join(folder, 'logs')).sort();
  expect(files).toHaveLength(3);
  expect(files[0]).toMatch(/^audit-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}\.log$/);
  expect(audit.counts).toEqual({ written: 30, lost: 0 });
});

test('metrics have the names and labels that dashboards ask for', async () => {
  await start();
  const client = api.client();
  await client.post(SECRETS, { metadata: { name: 's' } });
  await client.get('/api/v1/pods');
  await client.ask('PATCH', `${SECRETS}/s?fieldManager=m`, {
    headers: { 'content-type': 'application/apply-patch+yaml' },
    body: { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' } },
  });
  await client.get('/api/v1/namespaces/x/unheard-of');
  const { text } = await client.get('/metrics');
  const labels = (verb: string, resource: string, scope: string): string =>
    `component="apiserver",group="",resource="${resource}",scope="${scope}",subresource="",verb="${verb}",version="v1"`;
  expect(text).toContain(
    `apiserver_request_total{code="201",dry_run="",${labels('POST', 'secrets', 'namespace')}} 1\n`,
  );
  expect(text).toContain(
    `apiserver_request_total{code="200",dry_run="",${labels('LIST', 'pods', 'cluster')}} 1\n`,
  );
  expect(text).toContain(`${labels('APPLY', 'secrets', 'resource')}} 1\n`);
  expect(text).toContain(
    `apiserver_request_duration_seconds_bucket{dry_run="",${labels('LIST', 'pods', 'cluster')},le="+Inf"} 1\n`,
  );
  expect(text).toMatch(/^apiserver_current_inflight_requests\{request_kind="readOnly"\} 1$/m);
  expect(text).not.toContain('unheard-of');
  for (const name of [
    'process_resident_memory_bytes',
    'process_cpu_seconds_total',
    'process_start_time_seconds',
  ]) {
    expect(text).toMatch(new RegExp(`^${name} [0-9.e+]+$`, 'm'));
  }
  for (const line of text.split('\n')) {
    expect(line).toMatch(
      /^$|^# (HELP|TYPE) [a-z_]+ .+$|^[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [0-9.e+-]+$/,
    );
  }
});

test('what admission finds stands in the event', async () => {
  await start();
  const client = api.client();
  await client.post('/api/v1/namespaces', {
    metadata: { name: 'watched', labels: { 'pod-security.kubernetes.io/audit': 'baseline' } },
  });
  const made = await client.post('/api/v1/namespaces/watched/pods', {
    metadata: { name: 'p' },
    spec: { hostNetwork: true, automountServiceAccountToken: false, containers: [{ name: 'c', image: 'i' }] },
  });
  await audit.stop();
  const pod = events().find(({ objectRef }) => objectRef?.resource === 'pods');
  expect({ status: made.status, annotations: pod?.annotations }).toMatchObject({
    status: 201,
    annotations: { 'pod-security.kubernetes.io/audit-violations': expect.stringContaining('hostNetwork') },
  });
});

const POLICY = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: None
  resources: [{group: "", resources: [endpoints]}]
- level: Metadata
  resources: [{group: "", resources: [secrets]}]
- level: RequestResponse
  verbs: [create, get, list]
  resources: [{group: "", resources: [configmaps]}]
- level: Request
  resources: [{group: ""}]
- level: Metadata
  omitStages: [ResponseComplete]
`;

test('a policy says what is told: nothing, metadata, what was asked, and what was answered', async () => {
  const file = join(folder, 'policy.yaml');
  writeFileSync(file, POLICY);
  await start({ policy: await readAuditPolicy(file) });
  const client = api.client();
  const maps = '/api/v1/namespaces/default/configmaps';
  const map = { metadata: { name: 'm' }, data: { a: 'b' } };
  await client.post(maps, map);
  await client.post(maps, map);
  const listed = await client.get(`${maps}?fieldSelector=metadata.name%3Dm`);
  expect(listed.body.items).toHaveLength(1);
  await client.ask('PATCH', `${maps}/m`, {
    headers: { 'content-type': 'application/merge-patch+json' },
    body: { data: { a: 'c' } },
  });
  await client.delete(`${maps}/m`, { body: { gracePeriodSeconds: 0 } });
  await client.post(SECRETS, { metadata: { name: 's' }, stringData: { password: 'correct horse' } });
  await client.get('/api/v1/namespaces/default/endpoints');
  await client.get('/version');
  await audit.stop();
  expect(readFileSync(path, 'utf8')).not.toMatch(/correct horse|managedFields/);
  const all = events();
  expect(all.map(({ level, verb, stage, objectRef }) => [level, verb, stage, objectRef?.name])).toEqual([
    ['RequestResponse', 'create', 'ResponseComplete', 'm'],
    ['RequestResponse', 'create', 'ResponseComplete', 'm'],
    ['RequestResponse', 'list', 'ResponseComplete', undefined],
    ['Request', 'patch', 'ResponseComplete', 'm'],
    ['Request', 'delete', 'ResponseComplete', 'm'],
    ['Metadata', 'create', 'ResponseComplete', 's'],
  ]);
  expect(all[0].requestObject).toEqual(map);
  expect(all[0].responseObject).toMatchObject({
    kind: 'ConfigMap',
    metadata: { name: 'm' },
    data: { a: 'b' },
  });
  expect(all[1].responseObject).toMatchObject({ kind: 'Status', reason: 'AlreadyExists' });
  expect(all[2].responseObject).toMatchObject({ kind: 'ConfigMapList', items: [{ data: { a: 'b' } }] });
  expect(all[3].requestObject).toEqual({ data: { a: 'c' } });
  expect(all[3]).not.toHaveProperty('responseObject');
  expect(all[4].requestObject).toEqual({ gracePeriodSeconds: 0 });
  expect(all[5]).not.toHaveProperty('requestObject');
});

test('a request that is received is told of before it is answered, and an upgrade that is refused', async () => {
  const file = join(folder, 'policy.yaml');
  writeFileSync(file, 'apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n');
  await start({ policy: await readAuditPolicy(file) });
  await api.client().get('/api/v1/nodes');
  const headers = { connection: 'upgrade', upgrade: 'websocket', 'impersonate-user': 'nobody' };
  await api.client().get('/api/v1/namespaces/default/pods/p/exec?command=ls', { headers });
  await audit.stop();
  expect(
    events().map(({ verb, stage, responseStatus, impersonatedUser }) => [
      verb,
      stage,
      responseStatus?.code,
      impersonatedUser?.username,
    ]),
  ).toEqual([
    ['list', 'RequestReceived', undefined, undefined],
    ['list', 'ResponseComplete', 200, undefined],
    ['create', 'RequestReceived', undefined, undefined],
    ['create', 'ResponseComplete', 403, 'nobody'],
  ]);
});

test('a policy that is wrong is refused with its fields named', async () => {
  await start();
  const file = join(folder, 'policy.yaml');
  writeFileSync(file, POLICY.replace('level: None', 'level: Some').replace('verbs:', 'verb:'));
  await expect(readAuditPolicy(file)).rejects.toThrow(AuditPolicyError);
  await expect(readAuditPolicy(file)).rejects.toThrow(
    /policy\.yaml: rules\[0\]\.level: Unsupported value: "Some".*unknown field "rules\[2\]\.verb"/,
  );
  writeFileSync(file, 'rules: [');
  await expect(readAuditPolicy(file)).rejects.toThrow(AuditPolicyError);
});
