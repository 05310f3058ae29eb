import { get } from 'node:http';
import { createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { HealthCheckPorts } from '../../src/agent/network/health-checks.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import type { SharedService } from '../../src/wire/messages.ts';
import { freePort } from '../support/cluster.ts';

const service = (name: string, port: number, ips: string[]): SharedService => ({
  v: 1,
  namespace: 'shop',
  name,
  type: 'LoadBalancer',
  clusterIPs: ['10.43.0.9'],
  healthCheckNodePort: port,
  ports: [
    { name: '', protocol: 'TCP', port: 80, endpoints: ips.map((ip) => ({ ip, port: 80, node: 'one' })) },
  ],
});
const ask = (port: number): Promise<{ status: number; local: number; weight: string }> =>
  new Promise((resolve, reject) => {
    get({ port, host: '127.0.0.1', path: '/healthz', agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          local: JSON.parse(text).localEndpoints,
          weight: String(response.headers['x-load-balancing-endpoint-weight']),
        }),
      );
    }).on('error', reject);
  });

describe('health check node ports over HTTP', () => {
  let healthy = true;
  const failures: string[] = [];
  const ports = new HealthCheckPorts({
    nodeName: 'one',
    logger: silentLogger,
    healthy: () => healthy,
    onFailure: (key) => failures.push(key),
  });
  afterEach(() => ports.stop());

  it('follow the Service: its endpoints, its port, its end', async () => {
    const [first, second] = [await freePort(), await freePort()];
    ports.apply([service('web', first, ['10.42.0.2', '10.42.0.3'])]);
    await ports.settled();
    expect(await ask(first)).toEqual({ status: 200, local: 2, weight: '2' });
    healthy = false;
    expect((await ask(first)).status).toBe(503);
    healthy = true;
    ports.apply([service('web', first, [])]);
    expect(await ask(first)).toEqual({ status: 503, local: 0, weight: '0' });
    ports.apply([service('web', second, ['10.42.0.2'])]);
    await ports.settled();
    expect((await ask(second)).status).toBe(200);
    await expect(ask(first)).rejects.toThrow(/ECONNREFUSED/);
    ports.apply([]);
    await ports.settled();
    await expect(ask(second)).rejects.toThrow(/ECONNREFUSED/);
  });

  it('say so when the port is taken, and take it with the next change', async () => {
    const port = await freePort();
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(port, '0.0.0.0', resolve));
    ports.apply([service('web', port, [])]);
    await ports.settled();
    expect(failures).toEqual(['shop/web']);
    await new Promise((resolve) => squatter.close(resolve));
    ports.apply([service('web', port, ['10.42.0.2'])]);
    await ports.settled();
    expect((await ask(port)).status).toBe(200);
  });
});
