import { cpus } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { root } from '../../scripts/lib/bundle.mjs';
import { pinnedNode } from '../../scripts/lib/dependencies.mjs';
import type { Node } from '../../src/api/types/core-v1.ts';
import { JoinedAgent, type JoinedAgentOptions } from '../support/cluster.ts';
import type { CopepodProcess } from '../support/copepod-process.ts';
import { clockAt } from '../support/debian-package.ts';
import { busybox, onNode, podOf } from '../support/manifests.ts';
import { onBoards } from '../support/on-boards.ts';
import { waitFor } from '../support/wait.ts';

// How boards come into a cluster and leave it, and who is kept out: with the lines that somebody has to go by.
const {
  network,
  boards: [first],
  others: [second],
  cluster,
  kubectl,
  apply,
  list,
} = onBoards(['first'], { others: ['second'] });
const agents: JoinedAgent[] = [];

afterAll(async () => {
  for (const agent of agents) await agent.dispose();
});

function agent(options: Partial<JoinedAgentOptions> = {}): JoinedAgent {
  const made = new JoinedAgent({ board: second, cluster, ...options });
  agents.push(made);
  made.process.start();
  return made;
}

const says = (what: string, where: CopepodProcess, line: RegExp) =>
  waitFor(what, () => line.test(where.log()), { timeoutMs: 20_000, details: () => where.logTail() });

const nodes = async (): Promise<string[]> =>
  (await list<Node>('nodes')).map(({ metadata }) => metadata.name ?? '');

const sleeper = (name: string, node: string) =>
  podOf(name, {
    ...onNode(node),
    terminationGracePeriodSeconds: 0,
    containers: [busybox('echo I am here; sleep 1000000')],
  });

const copepod = (...args: string[]): string =>
  first.run(pinnedNode(), join(root, 'dist/copepod.js'), ...args, `--data-dir=${cluster.dataDir}`);

it('refuses a wrong token, an expired one and another CA, with a line on each side', async () => {
  const expired = copepod('token', 'create', '--ttl=1s').trim();
  const refused = async (token: string | undefined, line: RegExp): Promise<void> => {
    const made = agent({ token });
    await cluster.eventually('the agent to give up', async () => !made.process.running);
    expect(made.process.log()).toMatch(line);
  };
  await refused(cluster.token.replace(/[^:]+$/, 'wrong'), /token is not \(or no longer\) valid/);
  await refused(
    cluster.token.replace(/^K10[0-9a-f]{8}/, 'K1000000000'),
    /certificate authority of .* is not the one that the token names/,
  );
  await refused(undefined, /give --token/);
  await cluster.eventually('the token to end', async () => !/[1-9]s/.test(copepod('token', 'list')));
  await refused(expired, /token is not \(or no longer\) valid/);
  expect(cluster.process.log().match(/refused a join: the token is not ours/g)).toHaveLength(2);
  expect(await nodes()).toEqual(['first']);
});

it('refuses a name that another machine has, and says how to free it', async () => {
  const made = agent({ nodeName: 'first' });
  await cluster.eventually('the agent to give up', async () => !made.process.running);
  expect(made.process.log()).toMatch(/is held by another machine .*--node-name.*kubectl delete node first/);
  expect(cluster.process.log()).toMatch(/refused a join: the name is held by another machine/);
});

it('joins within 5 s with what the board really is, and with clocks at 1970 and a day ahead', async () => {
  for (const [time, name] of [
    ['@1970-01-01 00:01:00', 'unset'],
    ['+1d', 'ahead'],
  ] as const) {
    const begin = Date.now();
    const made = agent({ nodeName: name, environment: clockAt(time) });
    await cluster.nodeReady(name, begin - 1000);
    const took = Date.now() - begin;
    expect(took).toBeLessThan(15_000);
    const node = await kubectl.get<Node>('node', name);
    expect(node.status?.nodeInfo).toMatchObject({ operatingSystem: 'linux', architecture: 'amd64' });
    expect(node.status?.capacity?.cpu).toBe(String(cpus().length));
    expect(node.spec?.podCIDR).toMatch(/^10\.42\.\d+\.0\/24$/);
    await apply(sleeper(`on-${name}`, name));
    await kubectl.line(`wait --for=condition=Ready pod/on-${name} --timeout=60s`);
    expect(await kubectl.line(`logs on-${name}`)).toBe('I am here\n');
    expect(await kubectl.line(`exec on-${name} -- echo hello`)).toBe('hello\n');
    await kubectl.line(`delete pod on-${name}`);
    await made.process.stop();
    await kubectl.line(`delete node ${name}`);
  }
});

it('shuts a board out when its Node is deleted, ends its pods, and lets it join again when it is started', async () => {
  const made = agent();
  await cluster.nodeReady('second', Date.now() - 1000);
  await apply(sleeper('there', 'second'));
  await kubectl.line('wait --for=condition=Ready pod/there --timeout=60s');
  const containers = () => second.docker.containers({ 'io.kubernetes.pod.name': 'there' });
  expect(await containers()).toHaveLength(2);
  await kubectl.line('delete node second');
  await says('the board to hear of it', made.process, /was removed from the cluster/);
  await cluster.eventually('its pods to end', async () => (await containers()).length === 0);
  // The collector of pods would wait for 40 s, in case the Node comes back.
  await kubectl.line('delete pod there --force --grace-period=0');
  // Its certificate is good for nothing any more.
  const tls = join(made.directory, 'data/agent');
  const url = `${cluster.url}/api/v1/nodes/second`;
  const script = `const { readFileSync: read } = require('fs'); const [url, dir] = process.argv.slice(1);
    const tls = { ca: read(dir + '/ca.crt'), cert: read(dir + '/node.crt'), key: read(dir + '/node.key') };
    require('https').get(url, tls, (answer) => answer.pipe(process.stdout));`;
  const answer = second.run(pinnedNode(), '-e', script, url, tls);
  expect(JSON.parse(answer)).toMatchObject({
    code: 401,
    message: 'node "second" was removed from the cluster',
  });
  expect(await nodes()).toEqual(['first']);
  await made.process.stop();
  made.process.start();
  await cluster.nodeReady('second', Date.now() - 1000);
  await made.process.stop();
  await kubectl.line('delete node second');
});

it('serves logs and exec of a board behind NAT', async () => {
  const hidden = await network.boardBehindNat('hidden');
  agent({ board: hidden });
  await cluster.nodeReady('hidden', Date.now() - 1000);
  expect(() => first.run('ping', '-c1', '-W1', hidden.ip)).toThrow();
  await apply(sleeper('behind', 'hidden'));
  await kubectl.line('wait --for=condition=Ready pod/behind --timeout=60s');
  expect(await kubectl.line('logs behind')).toBe('I am here\n');
  expect(await kubectl.line('exec behind -- echo hello')).toBe('hello\n');
  await kubectl.line('delete pod behind');
});

it('leaves nothing behind of a board that came and went 20 times', async () => {
  const stored = async (): Promise<string> => {
    const kinds = (await kubectl.line('api-resources --verbs=list -o name')).trim().split('\n');
    const names = kinds.filter((kind) => !/^events/.test(kind) && !/metrics/.test(kind)).join(',');
    return kubectl.line(`get ${names} -A -o name`);
  };
  const onFirst = (): string =>
    ['ip -brief link', 'ip route', 'ip neigh show dev eth0', 'bridge fdb show', 'nft list ruleset']
      .map((command) => first.run('sh', '-c', command))
      .join('\n')
      .replace(/(packets|bytes) \d+/g, '')
      .split('\n')
      .filter((line) => !/10\.77\.0\.2|veth|@/.test(line))
      .join('\n');
  await cluster.eventually('the first board to be alone', async () => !(await nodes()).includes('second'));
  const before = { stored: await stored(), onFirst: onFirst() };
  const descriptors = (): number =>
    Number(first.run('sh', '-c', `ls /proc/${cluster.process.pid}/fd | wc -l`).trim());
  const openBefore = descriptors();
  const made = agent();
  for (let round = 0; round < 20; round += 1) {
    if (round > 0) made.process.start();
    await cluster.nodeReady('second', Date.now() - 2000);
    await kubectl.line('delete node second');
    await made.process.stop();
  }
  await cluster.eventually('all of it to be gone', async () => (await stored()) === before.stored);
  await cluster.eventually('the network to be as before', async () => onFirst() === before.onFirst);
  expect(descriptors()).toBeLessThanOrEqual(openBefore + 5);
});
