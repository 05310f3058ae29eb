import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { INGRESS_CLASSES, INGRESSES, NODES, SECRETS } from '../../../src/api/kinds.ts';
import type { Node } from '../../../src/api/types/core-v1.ts';
import type { Ingress, IngressClass } from '../../../src/api/types/networking-v1.ts';
import { ServiceGroup } from '../../../src/lib/service.ts';
import { ingressControllers } from '../../../src/server/controllers/ingress/index.ts';
import { APIS, ControlPlane } from '../../support/control-plane.ts';
import { selfSigned, tlsSecret } from '../../support/ingress.ts';

const backend = { service: { name: 'web', port: { number: 80 } } };
const rule = (host: string, path = '/', pathType = 'Prefix') => ({
  host,
  http: { paths: [{ path, pathType, backend }] },
});

describe.each(APIS)('the ingress controller on the %s API', (api) => {
  let plane: ControlPlane;
  beforeEach(async () => {
    plane = await ControlPlane.open(api);
    await plane.start((context) => new ServiceGroup(ingressControllers(context)));
    await plane.client.create(INGRESS_CLASSES, undefined, {
      metadata: { name: 'ours' },
      spec: { controller: 'copepod.io/ingress' },
    } as IngressClass);
    await plane.client.create(INGRESS_CLASSES, undefined, {
      metadata: { name: 'theirs' },
      spec: { controller: 'example.com/other' },
    } as IngressClass);
    await join('one', '10.9.9.1');
  });
  afterEach(() => plane.stop());

  const settled = async (): Promise<void> => {
    await plane.settle();
    await plane.clock.advance(1000);
    await plane.settle();
  };
  const ready = (address: string, status = 'True') => ({
    addresses: [{ type: 'InternalIP', address }],
    conditions: [{ type: 'Ready', status, reason: 'KubeletReady', message: '' }],
  });
  const join = async (name: string, address: string, labels: Record<string, string> = {}): Promise<Node> => {
    const made = await plane.client.create(NODES, undefined, { metadata: { name, labels } } as Node);
    return plane.client.updateStatus(NODES, { ...made, status: ready(address) } as Node);
  };
  const create = async (name: string, spec: object, annotations?: Record<string, string>): Promise<void> => {
    await plane.client.create(INGRESSES, 'default', {
      metadata: { name, ...(annotations ? { annotations } : {}) },
      spec,
    } as Ingress);
    await settled();
  };
  const addresses = (name: string): unknown =>
    (plane.client.peek(INGRESSES, 'default', name) as Ingress).status?.loadBalancer?.ingress?.map(
      ({ ip }) => ip,
    );

  it('writes the addresses of the ready nodes that serve', async () => {
    await create('web', { ingressClassName: 'ours', rules: [rule('web.test')] });
    await create('other', { ingressClassName: 'theirs', rules: [rule('web.test')] });
    await create('old', { rules: [rule('web.test')] }, { 'kubernetes.io/ingress.class': 'ours' });
    expect([addresses('web'), addresses('other'), addresses('old')]).toEqual([
      ['10.9.9.1'],
      undefined,
      ['10.9.9.1'],
    ]);

    const two = await join('two', '10.9.9.2');
    await join('never', '10.9.9.3', { 'ingress.copepod.io/enabled': 'false' });
    await settled();
    expect(addresses('web')).toEqual(['10.9.9.1', '10.9.9.2']);

    await plane.client.patch(NODES, undefined, 'two', {
      type: 'merge',
      body: { metadata: { labels: { 'ingress.copepod.io/enabled': 'true' } } },
    });
    await settled();
    expect(addresses('web')).toEqual(['10.9.9.2']);

    const { resourceVersion: _old, ...metadata } = two.metadata;
    await plane.client.updateStatus(NODES, {
      ...two,
      metadata: { ...metadata, labels: { 'ingress.copepod.io/enabled': 'true' } },
      status: ready('10.9.9.2', 'Unknown'),
    } as Node);
    await settled();
    expect(addresses('web')).toBeUndefined();
  });

  it('leaves out nodes that say that they cannot', async () => {
    await join('two', '10.9.9.2');
    await create('web', { ingressClassName: 'ours', rules: [rule('web.test')] });
    expect(addresses('web')).toEqual(['10.9.9.1', '10.9.9.2']);
    const say = async (status: string): Promise<void> => {
      const condition = { type: 'IngressUnavailable', status, reason: 'BoardReported', message: 'port 80' };
      const known = ready('10.9.9.2');
      const present = plane.client.peek(NODES, undefined, 'two') as Node;
      await plane.client.updateStatus(NODES, {
        ...present,
        status: { ...known, conditions: [...known.conditions, condition] },
      } as Node);
      await settled();
    };
    await say('True');
    expect(addresses('web')).toEqual(['10.9.9.1']);
    await say('False');
    expect(addresses('web')).toEqual(['10.9.9.1', '10.9.9.2']);
  });

  it('takes its addresses from an Ingress that goes over to another class', async () => {
    await create('web', { ingressClassName: 'ours', rules: [rule('web.test')] });
    expect(addresses('web')).toEqual(['10.9.9.1']);
    await plane.client.patch(INGRESSES, 'default', 'web', {
      type: 'merge',
      body: { spec: { ingressClassName: 'theirs' } },
    });
    await settled();
    expect(addresses('web')).toBeUndefined();
  });

  it('has what names no class while its class is the default one', async () => {
    await create('web', { rules: [rule('web.test')] });
    expect(addresses('web')).toBeUndefined();
    const mark = (value: string | null) =>
      plane.client.patch(INGRESS_CLASSES, undefined, 'ours', {
        type: 'merge',
        body: { metadata: { annotations: { 'ingressclass.kubernetes.io/is-default-class': value } } },
      });
    await mark('true');
    await settled();
    expect(addresses('web')).toEqual(['10.9.9.1']);
    await mark(null);
    await settled();
    expect(addresses('web')).toBeUndefined();
  });

  it('says once what boards cannot do, and again when that changes', async () => {
    const about = (reason: string): string[] => plane.events().filter((event) => event.startsWith(reason));
    await create(
      'web',
      {
        ingressClassName: 'ours',
        tls: [{ hosts: ['web.test'], secretName: 'cert' }],
        defaultBackend: { resource: { kind: 'Bucket', name: 'static', apiGroup: 'example.com' } },
        rules: [rule('web.test')],
      },
      { 'copepod.io/ssl-redirect': 'yes', 'copepod.io/proxy-timeout': '0' },
    );
    expect(plane.events().sort()).toEqual([
      'InvalidAnnotation: annotation copepod.io/ssl-redirect is ignored: expected "true" or "false", not "yes"',
      'SecretNotFound: secret "cert" not found; its hosts get a self-signed certificate',
      'UnsupportedBackend: spec.defaultBackend: a backend of kind Bucket is not supported, only Services are; answered with 503',
    ]);
    await join('two', '10.9.9.2');
    await settled();
    expect(plane.events()).toHaveLength(3);

    const right = selfSigned('web.test');
    const secret = tlsSecret('cert', { ...right, key: selfSigned('web.test').key });
    const { namespace: _d, ...metadata } = secret.metadata;
    await plane.client.create(SECRETS, 'default', { ...secret, metadata });
    await settled();
    expect(about('InvalidCertificate')).toEqual([
      'InvalidCertificate: secret "cert": tls.key is not the key of tls.crt; its hosts get a self-signed certificate',
    ]);
    const { data } = tlsSecret('cert', right);
    await plane.client.patch(SECRETS, 'default', 'cert', { type: 'merge', body: { data: data ?? {} } });
    await settled();
    expect([about('InvalidCertificate').length, about('SecretNotFound').length]).toEqual([1, 1]);
  });

  it('says whose a path is that two Ingresses define', async () => {
    await create('old', { ingressClassName: 'ours', rules: [rule('web.test', '/a')] });
    await plane.clock.advance(60_000);
    await create('new', {
      ingressClassName: 'ours',
      rules: [rule('web.test', '/a/'), rule('web.test', '/a', 'Exact')],
    });
    await create('elsewhere', { ingressClassName: 'theirs', rules: [rule('web.test', '/a')] });
    expect(plane.events()).toEqual([
      'PathTaken: Prefix web.test/a is already defined by the older Ingress default/old, which is served',
    ]);
  });
});
