import { describe, expect, it } from 'vitest';
import { healthAnswer, healthChecks } from '../../../src/agent/network/health-checks.ts';
import type { SharedEndpoint, SharedService } from '../../../src/wire/messages.ts';

const service = (healthCheckNodePort: number | undefined, endpoints: SharedEndpoint[]): SharedService => ({
  v: 1,
  namespace: 'shop',
  name: 'web',
  type: 'LoadBalancer',
  clusterIPs: ['10.43.0.9'],
  externalTrafficPolicy: 'Local',
  ...(healthCheckNodePort ? { healthCheckNodePort } : {}),
  ports: [
    { name: 'a', protocol: 'TCP', port: 80, endpoints },
    { name: 'b', protocol: 'TCP', port: 81, endpoints: endpoints.map((one) => ({ ...one, port: 81 })) },
  ],
});
const here = { ip: '10.42.0.2', port: 80, node: 'one' };

describe('health check node ports', () => {
  it('count the ready pods of this board, each once', () => {
    const endpoints = [
      here,
      { ...here, ip: '10.42.0.3', leaving: true as const },
      { ...here, ip: '10.42.1.2', node: 'two' },
    ];
    expect(healthChecks([service(30_555, endpoints), service(undefined, endpoints)], 'one')).toEqual(
      new Map([['shop/web', { port: 30_555, endpoints: 1 }]]),
    );
  });

  it('answer as kube-proxy does', () => {
    expect(healthAnswer('shop/web', 2, true)).toEqual({
      status: 200,
      headers: {
        'Content-Type': 'application/json',
        'X-Content-Type-Options': 'nosniff',
        'X-Load-Balancing-Endpoint-Weight': '2',
      },
      body: '{\n\t"service": {\n\t\t"namespace": "shop",\n\t\t"name": "web"\n\t},\n\t"localEndpoints": 2,\n\t"serviceProxyHealthy": true\n}',
    });
    expect(healthAnswer('shop/web', 0, true).status).toBe(503);
    expect(healthAnswer('shop/web', 2, false).status).toBe(503);
  });
});
