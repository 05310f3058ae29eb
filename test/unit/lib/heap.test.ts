import { describe, expect, it } from 'vitest';
import { Heap } from '../../../src/lib/heap.ts';
import { SeededRandom } from '../../support/seeded-random.ts';

interface Item {
  rank: number;
}

describe('a heap', () => {
  it('gives its items in order, whatever is taken out of its middle', () => {
    const random = new SeededRandom('heap');
    for (let round = 0; round < 50; round += 1) {
      const heap = new Heap<Item>((a, b) => a.rank - b.rank);
      const items = Array.from({ length: random.integer(40) }, () => ({ rank: random.integer(20) }));
      for (const item of items) heap.push(item);
      const kept = items.filter((item) => {
        if (random.chance(0.7)) return true;
        heap.remove(item);
        heap.remove(item);
        return false;
      });
      expect(heap.size).toBe(kept.length);
      const ranks: number[] = [];
      for (let next = heap.pop(); next; next = heap.pop()) ranks.push(next.rank);
      expect(ranks).toEqual(kept.map(({ rank }) => rank).sort((a, b) => a - b));
    }
  });

  it('shows the first without taking it, and forgets all', () => {
    const heap = new Heap<Item>((a, b) => a.rank - b.rank);
    expect([heap.peek(), heap.pop()]).toEqual([undefined, undefined]);
    heap.push({ rank: 2 });
    heap.push({ rank: 1 });
    expect(heap.peek()).toEqual({ rank: 1 });
    expect(heap.size).toBe(2);
    heap.clear();
    expect(heap.peek()).toBeUndefined();
  });
});
