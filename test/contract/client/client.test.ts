import { loadSchemaFacts } from '../../../src/api/facts.ts';
import { NAMESPACES, SERVICE_ACCOUNTS } from '../../../src/api/kinds.ts';
import { Schemas } from '../../../src/api/schema.ts';
import { FakeClient } from '../../support/fake-client.ts';
import { RegistryClient } from '../../support/registry-client.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { clientContract } from './suite.ts';

clientContract('the registry, in the process', () =>
  RegistryClient.open(new VirtualClock(), new SeededRandom(1)),
);

clientContract('the fake', async () => {
  const clock = new VirtualClock();
  const client = new FakeClient({
    clock,
    random: new SeededRandom(1),
    schemas: new Schemas(await loadSchemaFacts()),
  });
  await client.create(NAMESPACES, undefined, { metadata: { name: 'default' } });
  await client.create(SERVICE_ACCOUNTS, 'default', { metadata: { name: 'default' } });
  return client;
});
