import { describe, expect, it } from 'vitest';
import { parseArguments } from '../../../src/cli/arguments.ts';
import { commands, findCommand, flagShapes, ownerOfFlag } from '../../../src/cli/commands.ts';
import { commandHelp, programHelp } from '../../../src/cli/help.ts';
import { environmentName } from '../../../src/config/resolve.ts';

const server = findCommand('server');
if (!server) throw new Error('no server command');
const shapes = flagShapes(server);
const parse = (...argv: string[]) => parseArguments(argv, shapes, ownerOfFlag);

describe('parseArguments', () => {
  it('takes values after a space or an equals sign, and switches', () => {
    expect(parse('--data-dir', '/a', '--token=x=y', '--disable-agent', '--node-label', 'a=1')).toEqual({
      flags: [
        { flag: 'data-dir', value: '/a' },
        { flag: 'token', value: 'x=y' },
        { flag: 'disable-agent', value: 'true' },
        { flag: 'node-label', value: 'a=1' },
      ],
      operands: [],
      help: false,
    });
    expect(parse('--disable-agent=false').flags).toEqual([{ flag: 'disable-agent', value: 'false' }]);
  });

  it('finds help anywhere and operands after --', () => {
    expect(parse('--data-dir', '/a', '-h').help).toBe(true);
    expect(parse('x', '--', '--y').operands).toEqual(['x', '--y']);
  });

  it('names the nearest flag', () => {
    expect(() => parse('--data-dri', '/a')).toThrow('unknown flag --data-dri, did you mean --data-dir?');
    expect(() => parse('--https-port=1')).toThrow('unknown flag --https-port');
    expect(() => parse('--zzzzzzzzzz')).toThrow(/^unknown flag --zzzzzzzzzz$/);
    expect(() => parse('-data-dir', '/a')).toThrow('unknown flag -data-dir, did you mean --data-dir?');
  });

  it('names the command that has the flag', () => {
    expect(() => parse('--server', 'https://a')).toThrow('--server is a flag of `copepod agent`');
  });

  it('misses a value', () => {
    expect(() => parse('--data-dir')).toThrow('--data-dir needs a value: --data-dir PATH');
    expect(() => parse('--data-dir', '--token', 'x')).toThrow('--data-dir needs a value');
    expect(parse('--token=--x').flags).toEqual([{ flag: 'token', value: '--x' }]);
  });
});

describe('help', () => {
  it('lists every command', () => {
    for (const { name, summary } of commands)
      expect(programHelp(commands)).toMatch(new RegExp(`  ${name} +${literal(summary)}`));
  });

  it.each(commands.filter(({ settings }) => settings))('of $name is complete', (command) => {
    const text = commandHelp(command);
    for (const setting of Object.values(command.settings ?? {})) {
      expect(text).toContain(`  --${setting.flag}`);
      expect(text.replace(/\s+/g, ' ')).toContain(setting.help.replace(/\s+/g, ' '));
      expect(text.replace(/\s+/g, ' ')).toContain(`[${environmentName(setting.flag)}]`);
    }
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
  });
});

function literal(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
