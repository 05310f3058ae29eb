// What people type beside the ordinary life of objects (kubectl-versions.test.ts, first-five-minutes.test.ts), by two
// unmodified kubectl: the one on the PATH and Debian 12's 1.20, each with the flags that it has.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Deployment } from '../../src/api/types/apps-v1.ts';
import { debianKubectl } from '../support/debian-package.ts';
import type { Kubectl } from '../support/kubectl.ts';
import { onBoards } from '../support/on-boards.ts';

// Not :latest, which would be pulled.
const IMAGE = 'copepod.local/busybox:1';
const folder = mkdtempSync(join(tmpdir(), 'copepod-verbs-'));
const {
  boards: [board],
  cluster,
} = onBoards(['pi'], {
  async prepare() {
    const path = '/images/copepod.local%2Fbusybox/tag?repo=copepod.local%2Fbusybox';
    for (const tag of ['1', '2']) await board.docker.call('POST', `${path}&tag=${tag}`);
  },
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const configMap = (name: string, data: object, labels?: object) =>
  JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, labels }, data });

const KUBECTLS = [
  ['of the PATH', 'new', undefined],
  ['1.20 of Debian 12', 'old', debianKubectl],
] as const;
const kubectlOf = (name: string, program?: () => string): Kubectl =>
  cluster.otherKubectl(name, program ? { program: program() } : {});

// Both beside each other, each case after case.
describe.concurrent.each(KUBECTLS)('kubectl %s', (_title, name, program) => {
  describe('in a namespace of its own', { concurrent: false }, () => cases(name, program));
});

function cases(name: string, program: (() => string) | undefined): void {
  const isNew = name === 'new';
  let kubectl: Kubectl;
  const ok = (words: string, ...more: string[]): Promise<string> =>
    kubectl.ok(['-n', name, ...words.split(' '), ...more]);
  const run = (words: string, ...more: string[]) => kubectl.run(['-n', name, ...words.split(' '), ...more]);
  const given = (stdin: string, words: string) => kubectl.run(['-n', name, ...words.split(' ')], { stdin });

  beforeAll(async () => {
    kubectl = kubectlOf(name, program);
    await kubectl.line(`create namespace ${name}`);
    await ok(`create deployment web --image=${IMAGE} --`, 'sh', '-c', 'exec httpd -f -p 8080 -h /etc');
    await ok(
      `run long --image=${IMAGE} --command --`,
      'sh',
      '-c',
      'while read line; do echo got $line; done; exec sleep 100000',
    );
    await ok('wait --for=condition=Available deployment/web --timeout=60s');
    await ok('wait --for=condition=Ready pod/long --timeout=60s');
  });
  afterAll(() => kubectl.line(`delete namespace ${name} --wait=false`));

  it('creates with the subcommands of create', async () => {
    const file = join(folder, 'settings');
    writeFileSync(file, 'colour=blue\n');
    const commands = [
      `configmap files --from-file=${file} --from-literal=a=b`,
      'secret generic plain --from-literal=a=b',
      'secret docker-registry pull --docker-server=s --docker-username=u --docker-password=p',
      'quota many --hard=pods=50,services=20',
      'serviceaccount robot',
      'role reader --verb=get,list --resource=pods,deployments.apps',
      `rolebinding readers --role=reader --serviceaccount=${name}:robot`,
      `clusterrole node-reader-${name} --verb=get --resource=nodes`,
      `clusterrolebinding node-readers-${name} --clusterrole=node-reader-${name} --serviceaccount=${name}:robot`,
      'ingress front --rule=example.com/shop*=web:80',
      `priorityclass high-${name} --value=10`,
      'service clusterip inner --tcp=80:8080',
      'service nodeport outer --tcp=80:8080',
      'service externalname elsewhere --external-name=example.com',
      // In versions that Kubernetes 1.25 has removed, by the old one.
      ...(isNew ? ['poddisruptionbudget guard --selector=app=web --min-available=1'] : []),
    ];
    const answers = await Promise.all(commands.map((command) => ok(`create ${command}`)));
    for (const answer of answers) expect(answer).toMatch(/ created\n$/);
    expect(await ok('get configmap files -o jsonpath={.data}')).toBe('{"a":"b","settings":"colour=blue\\n"}');
    expect(await ok('get secret pull -o jsonpath={.type}')).toBe('kubernetes.io/dockerconfigjson');
    expect(await ok('get ingress front -o jsonpath={.spec.rules[0].http.paths[0].pathType}')).toBe('Prefix');
    expect(await ok(`auth can-i list deployments.apps --as=system:serviceaccount:${name}:robot`)).toBe(
      'yes\n',
    );
    expect(await ok(`auth can-i --list --as=system:serviceaccount:${name}:robot`)).toMatch(
      /deployments\.apps +\[\] +\[\] +\[get list\]/,
    );
    expect(await ok('describe quota many')).toMatch(/pods +2 +50/);
    if (!isNew) return;
    await ok('delete poddisruptionbudget guard');
    await ok(`create cronjob yearly --image=${IMAGE} --schedule`, '0 0 1 1 *', '--', 'echo', 'a year');
    await ok('create job now --from=cronjob/yearly');
    await ok('wait --for=condition=complete job/now --timeout=60s');
    expect(await ok('logs job/now')).toBe('a year\n');
    const token = await ok('create token robot --duration=10m');
    expect(token.split('.')).toHaveLength(3);
    expect(await ok(`auth whoami --as=system:serviceaccount:${name}:robot`)).toMatch(
      /Username +system:serviceaccount:new:robot/,
    );
  });

  it('changes a deployment in every way', async () => {
    await ok('rollout pause deployment/web');
    await ok('set image deployment/web busybox=copepod.local/busybox:2');
    expect((await run('rollout status deployment/web --timeout=1s')).code).toBe(1);
    await ok('set resources deployment/web --limits=memory=64Mi');
    await ok('rollout resume deployment/web');
    await ok('rollout status deployment/web --timeout=60s');
    expect(await ok('rollout history deployment/web --revision=2')).toMatch(
      /Image:\s+copepod.local\/busybox:2/,
    );
    await ok('set env deployment/web A=b');
    await ok('set serviceaccount deployment/web default');
    expect(await ok('set env deployment/web --list')).toContain('A=b');
    const patches: [string, string][] = [
      ['json', '[{"op":"add","path":"/spec/minReadySeconds","value":1}]'],
      ['merge', '{"spec":{"minReadySeconds":null}}'],
      [
        'strategic',
        '{"spec":{"template":{"spec":{"containers":[{"name":"busybox","env":[{"name":"A","$patch":"delete"},{"name":"X","value":"y"}]}]}}}}',
      ],
    ];
    for (const [type, patch] of patches)
      expect(await ok(`patch deployment web --type=${type} -p`, patch)).toContain('patched');
    const { spec } = await kubectl.get<Deployment>('-n', name, 'deployment', 'web');
    expect(spec?.template.spec?.containers[0]).toMatchObject({
      env: [{ name: 'X', value: 'y' }],
      resources: { limits: { memory: '64Mi' } },
    });
    expect(spec?.minReadySeconds).toBeUndefined();
    expect((await run('scale deployment/web --replicas=2 --current-replicas=7')).stderr).toContain(
      'Expected replicas to be 7',
    );
    if (isNew) {
      expect(
        await ok('patch deployment web --subresource=scale --type=merge -p', '{"spec":{"replicas":2}}'),
      ).toContain('scale.autoscaling/web patched');
      expect(await ok('get deployment web --subresource=scale')).toMatch(
        /^NAME +DESIRED +AVAILABLE +AGE\nweb +2 +\d +\S+\n$/,
      );
      await ok('wait deployment/web --timeout=60s', '--for=jsonpath={.status.readyReplicas}=2');
    }
    await ok('scale deployment/web --replicas=1 --timeout=30s');
    await ok('autoscale deployment web --min=1 --max=3 --cpu-percent=50');
    expect(await ok('get hpa web')).toMatch(/web +Deployment\/web .* 1 +3 /);
    await ok('rollout status deployment/web --timeout=60s');
  });

  it('runs, attaches, copies and debugs', async () => {
    const typed = await kubectl.ok(
      [
        '-n',
        name,
        'run',
        'once',
        `--image=${IMAGE}`,
        '--restart=Never',
        '--rm',
        '-i',
        '--quiet',
        '--command',
        '--',
        'cat',
      ],
      { stdin: 'typed\n' },
    );
    expect(typed).toContain('typed\n');
    expect(await ok('get pods once --ignore-not-found')).toBe('');
    const failed = await run(
      `run fails --image=${IMAGE} --restart=Never --rm -i --quiet --command --`,
      'sh',
      '-c',
      'sleep 1; exit 3',
    );
    expect(failed.code).toBe(3);
    await ok(
      `run talker --image=${IMAGE} --command --`,
      'sh',
      '-c',
      'while :; do echo tick; sleep 0.2; done',
    );
    await ok('wait --for=condition=Ready pod/talker --timeout=60s');
    const attached = kubectl.spawn(['-n', name, 'attach', 'talker']);
    let heard = '';
    attached.stdout.on('data', (chunk: Buffer) => {
      heard += chunk;
    });
    try {
      await cluster.eventually('what the container says now', async () => heard.includes('tick\ntick\n'));
    } finally {
      attached.kill();
    }
    await ok('delete pod talker --grace-period=0 --force');
    const [from, to] = [join(folder, 'from'), join(folder, 'to')];
    writeFileSync(from, 'there and back');
    await ok(`cp ${from} long:/tmp/copied`);
    await ok(`cp long:/tmp/copied ${to}`);
    expect(readFileSync(to, 'utf8')).toBe('there and back');
    if (!isNew) return;
    await ok(`debug long --image=${IMAGE} -c helper --profile=general --`, 'echo', 'helping');
    await ok(
      'wait pod/long --timeout=60s',
      '--for=jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}=0',
    );
    expect(await ok('logs long -c helper')).toBe('helping\n');
    expect(await ok('describe pod long')).toMatch(/Ephemeral Containers:\n +helper:/);
    // The whole file system of the node, as `kubectl debug node` mounts it.
    const said = await run(
      `debug node/pi --image=${IMAGE} --profile=general --`,
      'cat',
      '/host/etc/hostname',
    );
    const debugger_ = /pod (node-debugger-\S+)/.exec(said.stdout + said.stderr)?.[1] ?? 'none';
    await ok(`wait pod/${debugger_} --timeout=60s`, '--for=jsonpath={.status.phase}=Succeeded');
    expect(await ok(`logs ${debugger_}`)).toBe(readFileSync('/etc/hostname', 'utf8'));
  });

  it('forwards a port', async () => {
    const port = isNew ? 18_081 : 18_082;
    const forwarding = kubectl.spawn(['-n', name, 'port-forward', 'deployment/web', `${port}:8080`]);
    let out = '';
    forwarding.stdout.on('data', (chunk: Buffer) => {
      out += chunk;
    });
    try {
      await cluster.eventually('the port to be forwarded', async () =>
        out.includes('Forwarding from 127.0.0.1'),
      );
      expect(board.httpGet(`http://127.0.0.1:${port}/passwd`)).toContain('root:');
    } finally {
      forwarding.kill();
    }
  });

  it('applies sets, replaces by force, shares fields', async () => {
    const [one, two] = ['one', 'two'].map((map) => configMap(map, { a: 'b' }, { set: 's' }));
    // By itself the old one looks for kinds in versions that Kubernetes has removed.
    const prune = `--prune -l set=s${isNew ? '' : ' --prune-whitelist=core/v1/ConfigMap'}`;
    const both = `{"apiVersion":"v1","kind":"List","items":[${one},${two}]}`;
    await given(both, `apply -f - ${prune}`);
    const pruned = await given(one ?? '', `apply -f - ${prune}`);
    expect(pruned.stdout).toContain('configmap/two pruned');
    expect(await ok('get configmap -l set=s -o name')).toBe('configmap/one\n');
    const uid = await ok('get configmap one -o jsonpath={.metadata.uid}');
    expect((await given(one ?? '', 'replace --force -f -')).stdout).toBe(
      'configmap "one" deleted\nconfigmap/one replaced\n',
    );
    expect(await ok('get configmap one -o jsonpath={.metadata.uid}')).not.toBe(uid);

    const mine = configMap('shared', { a: 'mine' });
    expect((await given(mine, 'apply --server-side -f -')).stdout).toContain('serverside-applied');
    const theirs = configMap('shared', { a: 'theirs' });
    const conflict = await given(theirs, 'apply --server-side --field-manager=other -f -');
    expect([conflict.code, conflict.stderr]).toEqual([
      1,
      expect.stringMatching(/conflict with "kubectl": \.data\.a/),
    ]);
    expect(
      (await given(theirs, 'apply --server-side --field-manager=other --force-conflicts -f -')).code,
    ).toBe(0);
    const shown = await ok(`get configmap shared -o yaml${isNew ? ' --show-managed-fields' : ''}`);
    expect(shown).toMatch(/manager: other\n +operation: Apply/);

    expect((await given(configMap('never', {}), 'create --dry-run=server -f -')).stdout).toContain(
      '(server dry run)',
    );
    expect((await run('get configmap never')).code).toBe(1);
    if (!isNew) return;
    const unknown = mine.replace('"data"', '"dada":{},"data"');
    const strict = await given(unknown, 'apply --validate=strict -f -');
    expect([strict.code, strict.stderr]).toEqual([1, expect.stringContaining('unknown field "dada"')]);
    expect((await given(unknown, 'apply --validate=warn -f -')).stderr).toContain(
      'Warning: unknown field "dada"',
    );
  });

  it('marks objects', async () => {
    // One that ends meanwhile cannot be labelled any more.
    await cluster.eventually(
      'all pods to be labelled',
      async () => (await run('label pods --all seen=yes --overwrite')).code === 0,
    );
    expect(await ok('get pods -l seen=yes -L seen --sort-by=.metadata.name --no-headers')).toMatch(
      /long .* yes\n/,
    );
    await ok('label pod long seen-');
    await ok('annotate pod long note=a');
    await ok('annotate pod long note=b --overwrite');
    expect((await run('annotate pod long note=c')).code).toBe(1);
    await ok('annotate pod long note-');
    expect(await ok('get pod long -o jsonpath={.metadata.annotations}')).not.toContain('note');
    expect(
      await ok(
        'get pods --field-selector=status.phase=Running -o custom-columns=N:.metadata.name,ON:.spec.nodeName',
      ),
    ).toMatch(/long +pi\n/);
  });

  it('tells of the cluster', async () => {
    expect(await ok('api-resources --namespaced=false --verbs=list,get -o name')).toMatch(/^nodes$/m);
    expect(await ok('api-resources --api-group=apps')).toMatch(
      /deployments +deploy +apps\/v1 +true +Deployment/,
    );
    expect(await ok('get componentstatuses')).toMatch(
      /^NAME +STATUS +MESSAGE +ERROR\n.*scheduler +Healthy +ok/s,
    );
    expect(await ok('explain deployment.spec.template.spec.containers --recursive')).toMatch(
      /readinessProbe/,
    );
    await cluster.eventually('the pods to be measured', async () =>
      (await run('top pods')).stdout.includes('long'),
    );
    expect(await ok('top nodes')).toMatch(/pi +\d+m +\d+% +\d+Mi/);
    if (isNew) expect(await ok('events --for pod/long')).toMatch(/Normal +Started +Pod\/long/);
    expect(await ok('get --raw /readyz')).toBe('ok');
    expect(await ok('cluster-info')).toContain('is running at');
  });

  it('watches a pod to its end, and waits for that', async () => {
    const watching = kubectl.spawn(['-n', name, 'get', 'pod', 'long', '--watch', '--output-watch-events']);
    let seen = '';
    watching.stdout.on('data', (chunk: Buffer) => {
      seen += chunk;
    });
    try {
      await cluster.eventually('the watch to begin', async () => seen.includes('ADDED'));
      const waiting = ok('wait --for=delete pod/long --timeout=60s');
      await ok('delete pod long --grace-period=1 --wait=false');
      expect(await waiting).toContain('condition met');
      await cluster.eventually('the watch to see the deletion', async () => /DELETED +long/.test(seen));
      expect(seen).toMatch(/MODIFIED +long .*Terminating/);
    } finally {
      watching.kill();
    }
  });
}

// The node is everybody's.
describe.each(KUBECTLS)('kubectl %s', (_title, name, program) => {
  const namespace = `${name}-drained`;
  let kubectl: Kubectl;
  const ok = (words: string): Promise<string> => kubectl.line(`-n ${namespace} ${words}`);

  beforeAll(async () => {
    kubectl = kubectlOf(name, program);
    await kubectl.line(`create namespace ${namespace}`);
    await ok(`create deployment ${name} --image=${IMAGE} -- sleep 100000`);
    await ok(`wait --for=condition=Available deployment/${name} --timeout=60s`);
  });

  it('taints the node', async () => {
    await ok('taint node pi key=value:PreferNoSchedule');
    expect(await ok('get node pi -o jsonpath={.spec.taints[0].key}')).toBe('key');
    await ok('taint node pi key:PreferNoSchedule-');
  });

  it('drains the node of some pods', async () => {
    await ok('cordon pi');
    const flags = `--ignore-daemonsets --force --delete-${name === 'new' ? 'emptydir' : 'local'}-data`;
    const drained = await ok(`drain pi ${flags} --pod-selector=app=${name} --grace-period=1 --timeout=60s`);
    expect(drained).toMatch(new RegExp(`pod/${name}-\\S+ evicted`));
    await ok('uncordon pi');
  });
});
