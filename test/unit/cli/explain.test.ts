import { describe, expect, it } from 'vitest';
import { explain, isDefect, Refusal } from '../../../src/cli/explain.ts';

const system = (code: string, more: object = {}): Error =>
  Object.assign(new Error(`${code}: raw`), { code, ...more });

describe('explain', () => {
  it.each([
    [
      system('EADDRINUSE', { address: '0.0.0.0', port: 6443 }),
      /^port 6443 on 0\.0\.0\.0 is in use: .*--https-listen-port/,
    ],
    [system('EADDRNOTAVAIL', { address: '1.2.3.4', port: 1 }), /no address 1\.2\.3\.4: .*--bind-address/],
    [system('EACCES', { port: 443 }), /port 443 may only be opened by root/],
    [system('EACCES', { path: '/x' }), /no permission for \/x/],
    [system('ENOSPC', { path: '/x' }), /no space left .*--data-dir/],
    [system('SQLITE_CORRUPT'), /is damaged: restore/],
  ])('%s has one line with the mend', (error, line) => {
    expect(explain(error)).toMatch(line);
    expect(explain(error)).not.toContain('\n');
  });

  it('looks for the cause', () => {
    const inner = system('EADDRINUSE', { port: 6443 });
    expect(explain(new Error('cannot start', { cause: new Error('http', { cause: inner }) }))).toContain(
      'port 6443',
    );
  });

  it('says what the error says when it knows no better', () => {
    expect(explain(new Refusal('the token is empty'))).toBe('the token is empty');
    expect(explain('text')).toBe('text');
  });
});

it('tells mistakes of ours, of which the stack is shown, from those of the user', () => {
  expect(isDefect(new TypeError('x is not a function'))).toBe(true);
  expect(isDefect('thrown text')).toBe(true);
  expect(isDefect(new Refusal('no'))).toBe(false);
  expect(isDefect(system('EADDRINUSE'))).toBe(false);
});
