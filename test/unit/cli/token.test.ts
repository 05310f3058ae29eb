import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { UsageError } from '../../../src/cli/arguments.ts';
import { runToken } from '../../../src/cli/token.ts';
import { duration } from '../../../src/config/value-types.ts';
import { parseJoinToken } from '../../../src/wire/join.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const PIN = `K10${'ab'.repeat(32)}`;
let dataDir: string;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'copepod-token-'));
  mkdirSync(join(dataDir, 'server'));
  writeFileSync(join(dataDir, 'server', 'token'), `${PIN}::server:secret\n`);
});
afterEach(() => rmSync(dataDir, { recursive: true }));

interface Call {
  method: string;
  path: string;
  body: { metadata?: { name?: string }; stringData?: Record<string, string> } | undefined;
}

function run(operands: string[], answer: unknown = {}, values: object = {}) {
  const calls: Call[] = [];
  const clock = new VirtualClock();
  const printed = runToken(
    operands,
    { dataDir, ttl: 86_400_000, description: undefined, ...values },
    {
      clock,
      random: new SeededRandom(1),
      call: async (method, path, body) => {
        calls.push({ method, path, body: body as Call['body'] });
        return answer;
      },
    },
  );
  return { printed, calls, clock };
}

describe('copepod token', () => {
  test("prints the server's own", async () => {
    expect(await run([]).printed).toBe(`${PIN}::server:secret\n`);
  });

  test('makes one that ends, which agents can read', async () => {
    const { printed, calls, clock } = run(['create'], {}, { ttl: 3_600_000, description: 'for the shed' });
    const token = parseJoinToken(await printed);
    expect(token).toMatchObject({ caHash: 'ab'.repeat(32), user: 'bootstrap' });
    const data = calls[0]?.body?.stringData ?? {};
    expect(token.secret).toBe(`${data['token-id']}.${data['token-secret']}`);
    expect(token.secret).toMatch(/^[a-z0-9]{6}\.[a-z0-9]{16}$/);
    expect(calls[0]?.body?.metadata?.name).toBe(`bootstrap-token-${data['token-id']}`);
    expect(data).toMatchObject({
      description: 'for the shed',
      'auth-extra-groups': 'system:bootstrappers:copepod:default-node-token',
    });
    expect(Date.parse(data.expiration ?? '')).toBeLessThanOrEqual(clock.now() + 3_600_000);
    const endless = run(['create'], {}, { ttl: 0 });
    await endless.printed;
    expect(endless.calls[0]?.body?.stringData).not.toHaveProperty('expiration');
  });

  test('lists them with the time that is left', async () => {
    const data = (values: Record<string, string>) => ({
      data: Object.fromEntries(
        Object.entries(values).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
      ),
    });
    const end = new Date(new VirtualClock().now() + 5 * 3_600_000).toISOString();
    const { printed } = run(['list'], {
      items: [
        data({ 'token-id': 'bbbbbb' }),
        data({ 'token-id': 'aaaaaa', expiration: end, description: 'x' }),
      ],
    });
    const lines = (await printed).split('\n').map((line) => line.split(/ {2,}/));
    expect(lines[1]?.slice(0, 2)).toEqual(['aaaaaa', '5h']);
    expect(lines[1]?.[3]).toBe('x');
    expect(lines[2]?.slice(0, 3)).toEqual(['bbbbbb', 'for ever', '-']);
  });

  test('deletes by id or by the whole token', async () => {
    for (const operand of ['abcdef', `${PIN}::bootstrap:abcdef.0123456789abcdef`]) {
      const { printed, calls } = run(['delete', operand]);
      await printed;
      expect(calls).toEqual([
        {
          method: 'DELETE',
          path: '/api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef',
          body: undefined,
        },
      ]);
    }
    await expect(run(['delete']).printed).rejects.toThrow(UsageError);
    await expect(run(['delete', '../x']).printed).rejects.toThrow(UsageError);
    await expect(run(['frobnicate']).printed).rejects.toThrow(UsageError);
  });

  test('durations', () => {
    expect(['0', '90s', '30m', '24h', '7d', '1w', '-1h', ''].map((text) => duration.parse(text))).toEqual([
      0,
      90_000,
      1_800_000,
      86_400_000,
      604_800_000,
      undefined,
      undefined,
      undefined,
    ]);
  });
});
