import { expect, it } from 'vitest';
import { Demultiplexer } from '../../../../src/agent/docker/demux.ts';
import { RepeatFilter } from '../../../../src/agent/docker/repeat-filter.ts';

/** What a reader sees of entries that Docker sends in pieces of `size` bytes. */
function follow(entries: readonly string[], options: { timestamps?: boolean; size?: number } = {}): string {
  let text = '';
  const take = (chunk: Buffer): void => {
    text += chunk.toString();
  };
  const filter = new RepeatFilter({ stdout: take, stderr: take }, options.timestamps ?? false);
  const stream = Buffer.concat(
    entries.map((entry, index) => {
      const payload = Buffer.from(entry);
      const header = Buffer.alloc(8);
      header[0] = 1 + (index % 2);
      header.writeUInt32BE(payload.length, 4);
      return Buffer.concat([header, payload]);
    }),
  );
  const demultiplexer = new Demultiplexer();
  const size = options.size ?? stream.length;
  for (let at = 0; at < stream.length; at += size) demultiplexer.push(stream.subarray(at, at + size), filter);
  return text;
}

const entry = (second: string, text: string): string => `2026-11-20T15:13:${second}Z ${text}\n`;
const a = entry('20.000000001', 'a');
const b = entry('20.000000002', 'b');
const c = entry('20.000000003', 'c');

it('shows an entry once, whichever pieces it comes in', () => {
  for (const size of [1, 3, 7, 1000]) {
    expect(follow([a, b, a, b, c, a], { size })).toBe('a\nb\nc\n');
    expect(follow([a, b, a], { size, timestamps: true })).toBe(`${a}${b}`);
  }
});

it('keeps what was written while the clock went back', () => {
  const earlier = entry('05.5', 'after the clock was set');
  expect(follow([a, b, earlier, entry('05.6', 'and on'), earlier])).toBe(
    'a\nb\nafter the clock was set\nand on\n',
  );
});

it('passes on what carries no stamp', () => {
  const long = 'x'.repeat(100);
  expect(follow([long, 'no stamp\n', a], { size: 9 })).toBe(`${long}no stamp\na\n`);
});
