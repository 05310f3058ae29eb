import { describe, expect, it } from 'vitest';
import { FrameLimit } from '../../../src/wire/frame-limit.ts';
import { topicMatches } from '../../../src/wire/topic-filter.ts';
import { nodeMayPublish, nodeMaySubscribe, topics } from '../../../src/wire/topics.ts';
import { duplexPair } from '../../support/duplex-pair.ts';

function packet(type: number, bodyBytes: number): Buffer {
  const header = [type];
  let rest = bodyBytes;
  do {
    header.push((rest % 128) | (rest >= 128 ? 0x80 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return Buffer.concat([Buffer.from(header), Buffer.alloc(bodyBytes, 0xff)]);
}

async function read(chunks: readonly Buffer[], maxBytes: number): Promise<{ bytes: number; error?: string }> {
  const [near, far] = duplexPair();
  const limited = new FrameLimit(far, maxBytes);
  let bytes = 0;
  let error: Error | undefined;
  limited.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  limited.on('error', (problem) => {
    error = problem;
  });
  const closed = new Promise<void>((resolve) => limited.once('close', resolve));
  for (const chunk of chunks) near.write(chunk);
  near.end();
  await closed;
  return { bytes, ...(error ? { error: error.message } : {}) };
}

describe('FrameLimit', () => {
  it('lets packets of any cut through', async () => {
    const all = Buffer.concat([
      packet(0x10, 0),
      packet(0x30, 100),
      packet(0xc0, 0),
      packet(0x30, 127),
      packet(0x30, 128),
      packet(0x30, 5000),
    ]);
    for (const size of [1, 2, 3, 7, 64, 10_000]) {
      const chunks: Buffer[] = [];
      for (let at = 0; at < all.length; at += size) chunks.push(all.subarray(at, at + size));
      expect(await read(chunks, 5000)).toEqual({ bytes: all.length });
    }
  });

  it('breaks off at the announcement, before the body', async () => {
    const { bytes, error } = await read([packet(0x30, 10), packet(0x30, 5001).subarray(0, 3)], 5000);
    expect(error).toContain('5000');
    expect(bytes).toBe(12);
    expect((await read([Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x01])], 2 ** 30)).error).toBeDefined();
  });
});

describe('topics', () => {
  it.each([
    ['a/+/c', 'a/b/c', true],
    ['a/+/c', 'a/b/d', false],
    ['a/#', 'a', true],
    ['a/#', 'a/b/c', true],
    ['a/#', 'ab', false],
    ['#', '$SYS/x', false],
    ['+/x', '$SYS/x', false],
    ['a/+', 'a', false],
    ['a/+', 'a/', true],
    ['a', 'a/b', false],
  ])('%s matches %s: %s', (filter, topic, matches) => {
    expect(topicMatches(filter, topic)).toBe(matches);
  });

  it('keeps a node below its own name', () => {
    expect(nodeMayPublish('a', topics.heartbeat('a'))).toBe(true);
    expect(nodeMayPublish('a', topics.podStatus('a', 'u'))).toBe(true);
    expect(nodeMayPublish('a', topics.heartbeat('b'))).toBe(false);
    expect(nodeMayPublish('a', topics.desiredPod('a', 'u'))).toBe(false);
    expect(nodeMayPublish('a', topics.acks('a'))).toBe(false);
    expect(nodeMayPublish('a', topics.sharedNode('a'))).toBe(false);
    for (const filter of [
      '#',
      'copepod/#',
      'copepod/v1/#',
      'copepod/v1/nodes/#',
      'copepod/v1/+/a/#',
      'copepod/v1/nodes/+/desired/#',
    ]) {
      expect(nodeMaySubscribe('a', filter), filter).toBe(false);
    }
    expect(nodeMaySubscribe('a', 'copepod/v1/nodes/a/desired/#')).toBe(true);
    expect(nodeMaySubscribe('a', 'copepod/v1/shared/#')).toBe(true);
  });
});
