import { nearest } from '../config/nearest.ts';

/** A flag as the parser sees it. */
export interface FlagShape {
  readonly flag: string;
  /** Absent: a switch. */
  readonly placeholder?: string;
}

export interface ParsedArguments {
  flags: { flag: string; value: string }[];
  /** What stands beside the flags, in order. */
  operands: string[];
  help: boolean;
}

/** The command line cannot be understood; one line. Exit code 2. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}

/**
 * Parses what follows the command: `--flag value`, `--flag=value`, switches as `--switch` or `--switch=false`; `--` ends
 * the flags. `elsewhere` names the commands that have a flag this one has not, for the message.
 */
export function parseArguments(
  argv: readonly string[],
  shapes: readonly FlagShape[],
  elsewhere: (flag: string) => string | undefined = () => undefined,
): ParsedArguments {
  const parsed: ParsedArguments = { flags: [], operands: [], help: false };
  const rest = [...argv];
  for (let argument = rest.shift(); argument !== undefined; argument = rest.shift()) {
    if (argument === '--') {
      parsed.operands.push(...rest);
      break;
    }
    if (argument === '-h' || argument === '--help') {
      parsed.help = true;
    } else if (!argument.startsWith('-') || argument === '-') {
      parsed.operands.push(argument);
    } else {
      parsed.flags.push(parseFlag(argument, rest, shapes, elsewhere));
    }
  }
  return parsed;
}

function parseFlag(
  argument: string,
  rest: string[],
  shapes: readonly FlagShape[],
  elsewhere: (flag: string) => string | undefined,
): { flag: string; value: string } {
  const [, flag = '', inline] = /^--?([^=]+)(?:=(.*))?$/s.exec(argument) ?? [];
  const shape = argument.startsWith('--') ? shapes.find((candidate) => candidate.flag === flag) : undefined;
  if (!shape) {
    const owner = shapes.some((candidate) => candidate.flag === flag) ? undefined : elsewhere(flag);
    if (owner) throw new UsageError(`--${flag} is a flag of \`copepod ${owner}\`, not of this command`);
    const guess = nearest(flag, [...shapes.map((candidate) => candidate.flag), 'help']);
    throw new UsageError(
      `unknown flag ${argument.split('=')[0]}${guess ? `, did you mean --${guess}?` : ''}`,
    );
  }
  if (inline !== undefined) return { flag, value: inline };
  if (shape.placeholder === undefined) return { flag, value: 'true' };
  const value = rest.shift();
  // A value that looks like a flag is nearly always a forgotten value; --flag=-value says it when it is meant.
  if (value === undefined || value.startsWith('--')) {
    throw new UsageError(`--${flag} needs a value: --${flag} ${shape.placeholder}`);
  }
  return { flag, value };
}
