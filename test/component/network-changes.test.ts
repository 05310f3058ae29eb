import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BoardRules, type RulesetInput } from '../../src/agent/network/board-rules.ts';
import { nftScript } from '../../src/agent/network/commands.ts';
import type { SharedService } from '../../src/wire/messages.ts';
import { execute, NamespacedCommands } from '../support/network/namespaces.ts';

if (process.getuid?.() !== 0)
  throw new Error('test/component/network-changes.test.ts needs root: network namespaces');

// Whatever changes: the kernel holds the same after the small transaction as after writing everything anew.

const address = fc.constantFrom('10.42.0.5', '10.42.0.6', '10.42.1.7', '10.42.1.8');
const endpoints = fc.uniqueArray(
  fc
    .record({
      ip: address,
      port: fc.constantFrom(80, 8080),
      node: fc.constantFrom('one', 'two'),
      leaving: fc.boolean(),
      zones: fc.constantFrom<string[] | undefined>(undefined, ['a'], ['b']),
    })
    .map(({ leaving, zones, ...fields }) => ({
      ...fields,
      ...(leaving ? { leaving: true as const } : {}),
      ...(zones ? { zones } : {}),
    })),
  { maxLength: 4, selector: ({ ip, port }) => `${ip}:${port}` },
);
const policy = fc.constantFrom<'Cluster' | 'Local'>('Cluster', 'Local');
const service = (index: number): fc.Arbitrary<SharedService> =>
  fc
    .record({
      affinity: fc.constantFrom(undefined, 60, 600),
      nodePort: fc.boolean(),
      external: fc.boolean(),
      shared: fc.boolean(),
      sources: fc.constantFrom<string[] | undefined>(
        undefined,
        ['10.0.0.0/8'],
        ['10.0.0.0/8', '10.1.0.0/16', '192.0.2.7/32'],
      ),
      externalTrafficPolicy: policy,
      internalTrafficPolicy: policy,
      protocols: fc.uniqueArray(fc.constantFrom<'TCP' | 'UDP' | 'SCTP'>('TCP', 'UDP', 'SCTP'), {
        minLength: 1,
      }),
      endpoints,
    })
    .map((fields) => ({
      v: 1,
      namespace: 'default',
      name: `s${index}`,
      type: 'NodePort',
      clusterIPs: [`10.43.0.${index + 1}`],
      externalTrafficPolicy: fields.externalTrafficPolicy,
      internalTrafficPolicy: fields.internalTrafficPolicy,
      ...(fields.external ? { externalIPs: [`203.0.113.${index + 1}`] } : {}),
      // One that other Services want too.
      ...(fields.shared ? { balancerIPs: ['203.0.113.99', `203.0.113.10${index}`] } : {}),
      ...(fields.sources ? { sourceRanges: fields.sources } : {}),
      ...(fields.affinity === undefined ? {} : { sessionAffinitySeconds: fields.affinity }),
      ports: fields.protocols.map((protocol) => ({
        name: protocol,
        protocol,
        port: 80,
        endpoints: fields.endpoints,
        ...(fields.nodePort ? { nodePort: 30000 + index } : {}),
      })),
    }));
const hostPorts = fc
  .uniqueArray(fc.record({ hostPort: fc.constantFrom(80, 81), ip: address, anywhere: fc.boolean() }), {
    maxLength: 2,
    selector: ({ hostPort }) => hostPort,
  })
  .map((ports) =>
    ports.map(({ ip, hostPort, anywhere }) => ({
      ip,
      ports: [
        {
          hostPort,
          containerPort: 8080,
          protocol: 'TCP' as const,
          ...(anywhere ? {} : { hostIP: '192.168.1.10' }),
        },
      ],
    })),
  );
const state: fc.Arbitrary<RulesetInput> = fc
  .record({
    services: fc.tuple(...[0, 1, 2, 3].map((index) => fc.option(service(index), { nil: undefined }))),
    hostPorts,
  })
  .map((fields) => ({
    nodeName: 'one',
    zone: 'a',
    podCidr: '10.42.0.0/28',
    clusterCidr: '10.42.0.0/16',
    serviceCidr: '10.43.0.0/16',
    services: fields.services.filter((entry) => entry !== undefined),
    hostPorts: fields.hostPorts,
  }));

describe('changes of the nftables table', () => {
  const namespace = `cptc${process.pid}`;
  const commands = new NamespacedCommands(namespace);
  beforeAll(() => execute('ip', ['netns', 'add', namespace]));
  afterAll(() => execute('ip', ['netns', 'del', namespace]));

  /** The table as the kernel has it: chains, rules and elements, in an order that does not depend on their history. */
  const listed = async (): Promise<string[]> => {
    const { nftables } = JSON.parse(
      await commands.run({ file: 'nft', args: ['-j', 'list', 'table', 'ip', 'copepod'] }),
    ) as { nftables: Record<string, { chain?: string; handle?: number; elem?: unknown[] }>[] };
    const perChain = new Map<string, number>();
    return nftables
      .filter((entry) => !entry.metainfo)
      .map((entry) => {
        const [kind = '', body] = Object.entries(entry)[0] ?? [];
        const { handle: _handle, ...rest } = body ?? {};
        if (kind === 'rule') {
          // Rules count by their place in their chain.
          const place = perChain.get(rest.chain ?? '') ?? 0;
          perChain.set(rest.chain ?? '', place + 1);
          return `${kind} ${place} ${JSON.stringify(rest)}`;
        }
        const elem = rest.elem?.map((element) => JSON.stringify(element)).sort();
        return `${kind} ${JSON.stringify({ ...rest, elem })}`;
      })
      .sort();
  };

  it('come to the same as writing everything anew', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(state, { minLength: 2, maxLength: 5 }), async (states) => {
        const rules = new BoardRules();
        for (const [index, next] of states.entries()) {
          rules.update(next);
          const script = index === 0 ? rules.whole() : rules.change();
          if (script !== '') await commands.run(nftScript(script));
          rules.settled();
        }
        const changed = await listed();
        // Told to somebody who knows nothing of what was before.
        const fresh = new BoardRules();
        const last = states.at(-1);
        if (last) fresh.update(last);
        await commands.run(nftScript(fresh.whole()));
        expect(changed).toEqual(await listed());
      }),
      { numRuns: 24, seed: 6 },
    );
  }, 120_000);
});
