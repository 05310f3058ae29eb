import { beforeEach, describe, expect, it } from 'vitest';
import { Backends, type Endpoint } from '../../../../src/agent/ingress/backends.ts';
import { ExternalNames } from '../../../../src/agent/ingress/external-names.ts';
import { shadowOf } from '../../../../src/agent/ingress/shadows.ts';
import type { Pod } from '../../../../src/api/types/core-v1.ts';
import type { SharedService } from '../../../../src/wire/messages.ts';
import { sharedService } from '../../../support/ingress.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

let clock: VirtualClock;
let backends: Backends;
beforeEach(() => {
  clock = new VirtualClock();
  backends = new Backends(clock, new ExternalNames());
});

const ends = (service: string, port: number | string): number[] =>
  backends.endpoints({ namespace: 'd', service, port }).map((endpoint) => endpoint.port);

describe('the endpoints of a backend', () => {
  it('are found by the port’s number or name, of TCP', () => {
    const web = sharedService('web', [8080, 8081]);
    web.ports.unshift({
      name: 'dns',
      protocol: 'UDP',
      port: 80,
      endpoints: [{ ip: '127.0.0.1', port: 53, node: 'n' }],
    });
    backends.update([web]);
    expect(ends('web', 80)).toEqual([8080, 8081]);
    expect(ends('web', 'http')).toEqual([8080, 8081]);
    expect(ends('web', 'dns')).toEqual([]);
    expect(ends('web', 81)).toEqual([]);
    expect(ends('other', 80)).toEqual([]);
    expect(backends.endpoints({ namespace: 'd' })).toEqual([]);
  });

  it('are a name for an ExternalName Service', () => {
    const external = {
      ...sharedService('out', []),
      type: 'ExternalName',
      externalName: 'example.com',
      ports: [],
    };
    backends.update([external]);
    expect(backends.endpoints({ namespace: 'd', service: 'out', port: 8443 })).toEqual([
      { host: 'example.com', port: 8443 },
    ]);
    expect(ends('out', 'https')).toEqual([]);
    for (const externalName of ['127.0.0.1', '169.254.169.254', '::1', '::ffff:127.0.0.1']) {
      backends.update([{ ...external, externalName }]);
      expect(ends('out', 80)).toEqual([]);
    }
  });
});

describe('the choice among them', () => {
  const all: Endpoint[] = [1, 2, 3].map((port) => ({ host: '10.0.0.1', port }));
  const next = (tried: string[] = []): number | undefined => backends.choose(all, new Set(tried))?.port;

  it('takes turns, and prefers who has fewer requests under way', () => {
    expect(new Set([next(), next(), next()])).toEqual(new Set([1, 2, 3]));
    const release = [1, 2].map((port) => backends.begin({ host: '10.0.0.1', port }));
    expect([next(), next(), next()]).toEqual([3, 3, 3]);
    release[0]?.();
    release[0]?.();
    expect(new Set([next(), next(), next()])).toEqual(new Set([1, 3]));
  });

  it('leaves out who was tried, and asks who refused only when there is no other', async () => {
    expect(next(['10.0.0.1|1', '10.0.0.1|2'])).toBe(3);
    expect(next(['10.0.0.1|1', '10.0.0.1|2', '10.0.0.1|3'])).toBeUndefined();
    backends.suspect({ host: '10.0.0.1', port: 3 });
    expect([next(), next(), next()]).not.toContain(3);
    expect(next(['10.0.0.1|1', '10.0.0.1|2'])).toBe(3);
    await clock.advance(2001);
    expect(new Set([next(), next(), next()])).toContain(3);
  });
});

describe('who has a port before the ingress', () => {
  const balancer: SharedService = {
    ...sharedService('lb', []),
    type: 'LoadBalancer',
    externalIPs: ['10.0.0.1'],
  };
  const pod = (port: object): Pod => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'd' },
    spec: { containers: [{ name: 'c', image: 'i', ports: [port as { containerPort: number }] }] },
  });

  it('is a load balancer or a pod with the hostPort', () => {
    expect(shadowOf(80, [balancer], [])).toBe('Service d/lb of type LoadBalancer');
    expect(shadowOf(443, [balancer], [])).toBeUndefined();
    expect(shadowOf(80, [{ ...balancer, externalIPs: [] }], [])).toBeUndefined();
    expect(shadowOf(80, [], [pod({ containerPort: 1, hostPort: 80 })])).toBe('the hostPort of Pod d/p');
    expect(shadowOf(80, [], [pod({ containerPort: 80 })])).toBeUndefined();
    expect(shadowOf(80, [], [pod({ containerPort: 1, hostPort: 80, protocol: 'UDP' })])).toBeUndefined();
  });
});
