import { afterAll, beforeAll, expect, it } from 'vitest';
import { BUSYBOX_IMAGE } from '../../scripts/lib/busybox-image.mjs';
import { BoardNetwork } from '../support/boards.ts';

// The harness itself: what the other end-to-end tests stand on.
const network = new BoardNetwork();
const [one, two] = [network.add('one'), network.add('two')];

beforeAll(() => network.start());
afterAll(() => network.stop());

it('joins boards by a network of their own that can be cut and brought back', () => {
  const ping = (): string => one.run('busybox', 'ping', '-c1', '-W1', two.ip);
  expect(ping()).toContain('1 packets received');
  two.cutOff();
  expect(ping).toThrow();
  two.bringBack();
  expect(one.run('busybox', 'ping', '-c3', '-W2', two.ip)).toContain('packets received');
});

it('gives each board a Docker Engine that runs containers and knows nothing of the other', async () => {
  const body = {
    Image: BUSYBOX_IMAGE,
    Cmd: ['httpd', '-f'],
    Labels: { test: 'x' },
    HostConfig: { NetworkMode: 'none' },
  };
  const { Id } = (await one.docker.call('POST', '/containers/create', body)) as { Id: string };
  await one.docker.call('POST', `/containers/${Id}/start`);
  expect(await one.docker.containers({ test: 'x' })).toMatchObject([{ Id, State: 'running' }]);
  expect(await two.docker.containers({}, true)).toEqual([]);
});
