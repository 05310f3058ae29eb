import { EventEmitter } from 'node:events';
import { expect, it } from 'vitest';
import { listening } from '../../../src/lib/listening.ts';

it('resolves when it listens; errors after that are somebody else’s', async () => {
  const server = new EventEmitter();
  const errors: string[] = [];
  await listening(
    server,
    (done) => done(),
    ({ message }) => errors.push(message),
  );
  server.emit('error', new Error('EMFILE'));
  expect(errors).toEqual(['EMFILE']);
  expect(server.listenerCount('error')).toBe(1);
});

it('rejects with the error of a server that cannot listen, and tells nobody else of it', async () => {
  const server = new EventEmitter();
  const errors: string[] = [];
  const begun = listening(
    server,
    () => {},
    ({ message }) => errors.push(message),
  );
  server.emit('error', new Error('EADDRINUSE'));
  await expect(begun).rejects.toThrow('EADDRINUSE');
  expect(errors).toEqual([]);
});
