import { describe, expect, it } from 'vitest';
import { Limiter } from '../../../src/agent/limiter.ts';

/** Work that ends when told. */
function works(limiter: Limiter) {
  const started: string[] = [];
  const ends = new Map<string, () => void>();
  const begin = (name: string, key?: string): void => {
    void limiter.run(async () => {
      started.push(name);
      await new Promise<void>((resolve) => ends.set(name, resolve));
    }, key);
  };
  const end = async (name: string): Promise<void> => {
    ends.get(name)?.();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { started, begin, end };
}

describe('Limiter', () => {
  it('runs so many at once, the others in their order', async () => {
    const { started, begin, end } = works(new Limiter(2));
    for (const name of ['a', 'b', 'c', 'd']) begin(name);
    await end('none');
    expect(started).toEqual(['a', 'b']);
    await end('b');
    expect(started).toEqual(['a', 'b', 'c']);
    await end('a');
    await end('c');
    await end('d');
    begin('e');
    begin('f');
    await end('none');
    expect(started).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
  });

  it('lets the keys take turns: many of one do not hold up another', async () => {
    const { started, begin, end } = works(new Limiter(1));
    for (const name of ['big1', 'big2', 'big3', 'big4']) begin(name, 'big');
    begin('small1', 'small');
    begin('small2', 'small');
    begin('other', 'other');
    for (const name of ['big1', 'big2', 'small1', 'other', 'big3', 'small2']) await end(name);
    expect(started).toEqual(['big1', 'big2', 'small1', 'other', 'big3', 'small2', 'big4']);
  });

  it('gives the place on when the work fails', async () => {
    const limiter = new Limiter(1);
    const failed = limiter.run(() => Promise.reject(new Error('no')));
    const next = limiter.run(async () => 'yes');
    await expect(failed).rejects.toThrow('no');
    expect(await next).toBe('yes');
  });
});
