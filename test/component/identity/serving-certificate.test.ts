import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { SystemClock } from '../../../src/lib/clock.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { SystemRandom } from '../../../src/lib/random.ts';
import { Identity } from '../../../src/server/identity/identity.ts';
import { ServingCertificate } from '../../../src/server/identity/serving-certificate.ts';
import { ApiFixture } from '../../support/api-fixture.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { waitFor } from '../../support/wait.ts';

let dataDir: string;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'copepod-serving-'));
});
afterEach(() => rmSync(dataDir, { recursive: true }));

function make(clock: SystemClock | VirtualClock): Identity {
  const identity = new Identity({
    dataDir,
    clock,
    random: new SystemRandom(),
    logger: silentLogger,
    addresses: [],
    serviceIP: '10.43.0.1',
    clusterDomain: 'cluster.local',
  });
  identity.start();
  return identity;
}

test('covers an address that DHCP gave after the start, with the same CA, and is left alone otherwise', async () => {
  const clock = new VirtualClock();
  const identity = make(clock);
  let addresses = ['192.0.2.1'];
  let changes = 0;
  const watched = new ServingCertificate({
    identity,
    addresses: async () => addresses,
    onChange: () => {
      changes += 1;
    },
    clock,
    logger: silentLogger,
  });
  watched.start();
  const names = () => new X509Certificate(identity.serving.certificate).subjectAltName ?? '';
  expect(names()).not.toContain('192.0.2.1');
  await clock.advance(15_000);
  expect(names()).toContain('IP Address:192.0.2.1');
  await clock.advance(60_000);
  expect(changes).toBe(1);
  addresses = ['192.0.2.2'];
  await clock.advance(15_000);
  expect(changes).toBe(2);
  expect(names()).toContain('IP Address:192.0.2.2');
  const ca = new X509Certificate(identity.caPem);
  expect(new X509Certificate(identity.serving.certificate).verify(ca.publicKey)).toBe(true);
  // A year before its end it is renewed, with no address changed.
  clock.jump(9.5 * 365 * 86_400_000);
  await clock.advance(15_000);
  expect(changes).toBe(3);
  watched.stop();
});

test('is used by the API for new connections, and old ones go on', async () => {
  const api = await ApiFixture.start();
  try {
    const old = api.client();
    expect((await old.get('/version')).status).toBe(200);
    const served = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = connect({ host: '127.0.0.1', port: api.server.port, ca: api.identity.caPem }, () => {
          resolve(socket.getPeerCertificate().subjectaltname ?? '');
          socket.destroy();
        });
        socket.once('error', reject);
      });
    expect(await served()).not.toContain('192.0.2.7');
    expect(api.identity.cover(['192.0.2.7'])).toBe(true);
    api.server.certificateChanged();
    await waitFor('the new certificate', async () => (await served()).includes('192.0.2.7'));
    expect((await old.get('/version')).status).toBe(200);
  } finally {
    await api.stop();
  }
});
