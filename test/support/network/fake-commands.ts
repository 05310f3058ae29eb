import { CommandError, type NetCommand, type NetCommands } from '../../../src/agent/network/commands.ts';

/**
 * Records what is run. Each answer is for command lines that begin with its key; a command line without an answer is an
 * error of the test. Batches and scripts are recorded line by line behind their command.
 */
export class FakeNetCommands implements NetCommands {
  readonly log: string[] = [];
  private readonly answers: [prefix: string, answer: (input: string) => string][] = [];

  /** The newest answer for a prefix counts. */
  on(prefix: string, answer: string | Error | ((input: string) => string)): this {
    const give = (input: string): string => {
      if (answer instanceof Error) throw answer;
      return typeof answer === 'function' ? answer(input) : answer;
    };
    this.answers.unshift([prefix, give]);
    return this;
  }

  async run(command: NetCommand): Promise<string> {
    const line = [command.file, ...command.args].join(' ');
    this.log.push(command.stdin ? `${line}\n${command.stdin.trimEnd()}` : line);
    const answer = this.answers.find(([prefix]) => line.startsWith(prefix));
    if (!answer) throw new Error(`FakeNetCommands has no answer for: ${line}`);
    return answer[1](command.stdin ?? '');
  }

  async write(path: string, value: string): Promise<void> {
    this.log.push(`${path} = ${value}`);
  }

  async read(): Promise<string | undefined> {
    return undefined;
  }

  take(): string[] {
    return this.log.splice(0);
  }
}

export const notInstalled = (program: string): CommandError =>
  new CommandError(program, { missing: true, stderr: '' });
export const failing = (program: string, stderr: string): CommandError =>
  new CommandError(program, { missing: false, stderr });
