import { describe, expect, it } from 'vitest';
import { decideMembership, Membership } from '../../../src/agent/membership.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { DialRefused } from '../../../src/wire/dial.ts';
import { NODE_REFUSALS } from '../../../src/wire/join.ts';

const asked = { reason: 'removed', wasMember: true, hasToken: true, own: false } as const;

describe('a node whose certificate the server does not take', () => {
  it.each([
    ['removed while it ran: stays out', {}, 'leave'],
    ['removed, and started again with its token: joins', { wasMember: false }, 'join'],
    ['removed, and started again without one: ends its pods', { wasMember: false, hasToken: false }, 'leave'],
    ['the server’s own board: joins at once', { own: true }, 'join'],
    ['unknown to a server restored from a backup: joins', { reason: 'unknown' }, 'join'],
    [
      'unknown, and without a token: waits with its pods running',
      { reason: 'unknown', hasToken: false },
      'wait',
    ],
  ] as const)('%s', (_name, given, decision) => {
    expect(decideMembership({ ...asked, ...given })).toBe(decision);
  });

  it('ends its pods once, and only for the server’s word', async () => {
    let removed = 0;
    let joins = 0;
    const membership = new Membership({
      joiner: {
        hasToken: true,
        rejoin: async () => {
          joins += 1;
        },
      },
      desired: {
        removed: () => {
          removed += 1;
        },
      },
      node: 'pi',
      own: false,
      logger: silentLogger,
    });
    membership.connected();
    await membership.failed(new Error('connect ECONNREFUSED'));
    await membership.failed(new DialRefused(503, 'the server is stopping', undefined));
    expect([removed, joins]).toEqual([0, 0]);
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await membership.failed(new DialRefused(401, 'node "pi" was removed', NODE_REFUSALS.removed));
    }
    expect([removed, joins]).toEqual([1, 0]);
    await membership.failed(new DialRefused(401, 'not known', NODE_REFUSALS.unknown));
    expect([removed, joins]).toEqual([1, 1]);
  });
});
