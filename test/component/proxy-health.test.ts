import { get } from 'node:http';
import { createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { ProxyHealth, proxyAnswer } from '../../src/agent/network/proxy-health.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import type { SharedNode, SharedService } from '../../src/wire/messages.ts';
import { freePort } from '../support/cluster.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const NOW = Date.UTC(2026, 5, 1, 12);

describe('what kube-proxy answers', () => {
  const well = { healthy: true, eligible: true, lastUpdated: NOW - 3600_000, now: NOW };

  it.each([
    [
      '/healthz',
      well,
      200,
      '{"lastUpdated": "2026-06-01 12:00:00.000 +0000 UTC","currentTime": "2026-06-01 12:00:00.000 +0000 UTC", "nodeEligible": true}',
    ],
    [
      '/livez',
      { ...well, eligible: false },
      200,
      '{"lastUpdated": "2026-06-01 12:00:00.000 +0000 UTC","currentTime": "2026-06-01 12:00:00.000 +0000 UTC"}',
    ],
    [
      '/healthz',
      { ...well, eligible: false },
      503,
      '{"lastUpdated": "2026-06-01 11:00:00.000 +0000 UTC","currentTime": "2026-06-01 12:00:00.000 +0000 UTC", "nodeEligible": false}',
    ],
    [
      '/livez',
      { ...well, healthy: false, lastUpdated: 0 },
      503,
      '{"lastUpdated": "0001-01-01 00:00:00 +0000 UTC","currentTime": "2026-06-01 12:00:00.000 +0000 UTC"}',
    ],
    ['/metrics', well, 404, '404 page not found\n'],
  ])('%s', (path, state, status, body) => {
    expect(proxyAnswer(path, state)).toMatchObject({ status, body });
  });
});

describe('the health port of the proxy', () => {
  const clock = new VirtualClock();
  let health: ProxyHealth;
  const failures: string[] = [];
  const begin = (port: number): void => {
    health = new ProxyHealth({
      address: `127.0.0.1:${port}`,
      nodeName: 'one',
      state: () => ({ healthy: true, lastUpdated: 0 }),
      clock,
      logger: silentLogger,
      onFailure: (message) => failures.push(message),
    });
  };
  afterEach(() => health.stop());

  const service = (type: string): SharedService => ({
    v: 1,
    namespace: 'd',
    name: 'web',
    type,
    clusterIPs: ['10.43.0.9'],
    ports: [],
  });
  const node = (name: string, more: Partial<SharedNode> = {}): SharedNode => ({
    v: 1,
    name,
    internalIP: '10.0.0.1',
    podCIDR: '10.42.0.0/24',
    ...more,
  });
  const status = (port: number, path = '/healthz'): Promise<number> =>
    new Promise((resolve, reject) => {
      get({ port, host: '127.0.0.1', path, agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      }).on('error', reject);
    });

  it('is open while a Service can be reached from outside, and says that a node is leaving', async () => {
    const port = await freePort();
    begin(port);
    const apply = async (type: string, nodes: SharedNode[]): Promise<void> => {
      health.apply([service(type)], nodes);
      await health.settled();
    };
    await apply('ClusterIP', []);
    await expect(status(port)).rejects.toThrow('ECONNREFUSED');
    await apply('NodePort', []);
    expect(await status(port)).toBe(200);
    await apply('NodePort', [node('two')]);
    expect(await status(port)).toBe(200);
    await apply('LoadBalancer', [node('one', { leaving: true }), node('two')]);
    expect([await status(port), await status(port, '/livez')]).toEqual([503, 200]);
    await apply('LoadBalancer', [node('one'), node('two')]);
    expect(await status(port)).toBe(200);
    // Its Node was deleted.
    await apply('LoadBalancer', [node('two')]);
    expect(await status(port)).toBe(503);
    await apply('ClusterIP', [node('one')]);
    await expect(status(port)).rejects.toThrow('ECONNREFUSED');
  });

  it('says once that the port is taken, and takes it as soon as it is free', async () => {
    const port = await freePort();
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(port, '127.0.0.1', resolve));
    begin(port);
    health.apply([service('NodePort')], [node('one')]);
    await health.settled();
    await clock.advance(30_000);
    await health.settled();
    expect(failures).toEqual([
      `failed to start proxy healthz on 127.0.0.1:${port}: listen EADDRINUSE: address already in use 127.0.0.1:${port}`,
    ]);
    await new Promise((resolve) => squatter.close(resolve));
    await clock.advance(30_000);
    await health.settled();
    expect(await status(port)).toBe(200);
  });
});
