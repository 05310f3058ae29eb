import { describe, expect, it } from 'vitest';
import { parseEnvFile } from '../../../../src/agent/containers/env-file.ts';

describe('variables in a file', () => {
  it('stand in single quotes and are taken as they are', () => {
    const text = [
      '# made by the init container',
      '',
      "A='one'",
      '  B=\'$HOME "x" \\n # no comment\' # a comment',
      "C='two",
      "lines'",
      "D=''",
      'E=',
      "F= 'not taken'",
      "A='again'",
    ].join('\n');
    expect(Object.fromEntries(parseEnvFile(text))).toEqual({
      A: 'again',
      B: '$HOME "x" \\n # no comment',
      C: 'two\nlines',
      D: '',
      E: '',
      F: '',
    });
    expect(parseEnvFile('').size).toBe(0);
  });

  it.each([
    ["A='x'\nnothing", "line 2: missing '='"],
    ["='x'", 'line 1: empty variable name'],
    ["A ='x'", "line 1: whitespace in the name or before '='"],
    ['A=x', 'line 1: the value must be in single quotes'],
    ['A="x"', 'line 1: the value must be in single quotes'],
    ["A='x\n\nB=y", 'line 1: the value must be in single quotes'],
    ["A='x'y", 'line 1: text after the closing quote'],
  ])('%j is refused: %s', (text, message) => {
    expect(() => parseEnvFile(text)).toThrow(message);
  });
});
