import { PassThrough } from 'node:stream';
import { expect, it } from 'vitest';
import { followPull, registryAuth } from '../../../../src/agent/docker/pull.ts';
import type { PullOptions } from '../../../../src/agent/runtime.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

function follow(pull: PullOptions = {}) {
  const clock = new VirtualClock();
  const stream = new PassThrough();
  const done = followPull({ clock, stream, reference: 'web:1', pull });
  done.catch(() => {});
  return { clock, stream, done };
}

it('hands on the lines of a pull, and ends with it', async () => {
  const seen: unknown[] = [];
  const { clock, stream, done } = follow({ onProgress: (line) => seen.push(line) });
  stream.write('{"status":"Pulling fs layer","id":"a"}\n{"status":"Downloa');
  stream.write('ding","id":"a","progressDetail":{"current":1,"total":2}}\nno JSON\n');
  stream.end('{"status":"Status: Downloaded newer image"}');
  await clock.settle();
  await done;
  expect(seen).toEqual([
    { status: 'Pulling fs layer', id: 'a' },
    { status: 'Downloading', id: 'a', progressDetail: { current: 1, total: 2 } },
  ]);
});

it('ends a pull that tells a failure, also in its last line', async () => {
  const { clock, stream, done } = follow();
  stream.end('{"errorDetail":{"message":"no matching manifest for linux/arm64/v8"},"error":"x"}');
  await clock.settle();
  await expect(done).rejects.toMatchObject({ code: 'ImageArchitecture' });
});

it('gives up what shows no progress, not what is slow', async () => {
  const { clock, stream, done } = follow({ stallMs: 10_000 });
  for (let second = 0; second < 30; second += 6) {
    stream.write('{"status":"Downloading","id":"a"}\n');
    await clock.advance(6_000);
  }
  await clock.advance(10_000);
  await expect(done).rejects.toMatchObject({
    code: 'Timeout',
    message: 'pull of web:1 made no progress for 10 s',
  });
  expect(stream.destroyed).toBe(true);
});

it('ends when it is not wanted any more', async () => {
  const abort = new AbortController();
  const { clock, stream, done } = follow({ signal: abort.signal });
  abort.abort();
  await clock.settle();
  await expect(done).rejects.toThrow('was cancelled');
  expect(stream.destroyed).toBe(true);
});

it('logs in with a name and password, or with the token that a registry gave for them', () => {
  const account = { username: 'u', password: 'p', serverAddress: 'r' };
  expect(registryAuth(account)).toEqual({ username: 'u', password: 'p', serveraddress: 'r' });
  expect(registryAuth({ ...account, identityToken: 't' })).toEqual({
    identitytoken: 't',
    serveraddress: 'r',
  });
});
