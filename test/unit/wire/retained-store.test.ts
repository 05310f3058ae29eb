import { expect, it } from 'vitest';
import { RetainedStore } from '../../../src/wire/retained-store.ts';

// A slab of up to 64 kB lives as long as any Buffer that was cut from it.
it.each([
  ['text', 'a state'],
  ['a short Buffer', Buffer.from('a state')],
  ['a window on what the network brought', Buffer.alloc(65_536, 'a state').subarray(7, 14)],
])('keeps of %s no more than its own bytes', (_what, payload) => {
  const store = new RetainedStore();
  store.storeRetained({ topic: 't', payload, qos: 1, retain: true });
  expect(store.get('t')?.toString()).toBe('a state');
  expect(store.get('t')?.buffer.byteLength).toBe(7);
});

it('takes a Buffer that is all its own as it is', () => {
  const store = new RetainedStore();
  const payload = Buffer.alloc(100_000, 'x');
  store.storeRetained({ topic: 't', payload, qos: 1, retain: true });
  expect(store.get('t')).toBe(payload);
});
