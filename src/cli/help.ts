import { environmentName } from '../config/resolve.ts';
import type { Setting, SettingsTable } from '../config/settings.ts';
import type { Command } from './commands.ts';

const WIDTH = 100;

/** `copepod --help`. */
export function programHelp(commands: readonly Command[]): string {
  const width = Math.max(...commands.map(({ name }) => name.length));
  return [
    'copepod: a Kubernetes-compatible container orchestrator for small boards',
    '',
    'Usage: copepod COMMAND [FLAGS]',
    '',
    'Commands:',
    ...commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`),
    '',
    '`copepod COMMAND --help` shows the flags of a command. Every flag is also an environment variable',
    '(--data-dir is COPEPOD_DATA_DIR) and a key of the configuration file (data-dir); the flag wins over',
    'the variable, the variable over the file.',
    '',
  ].join('\n');
}

/** `copepod COMMAND --help`. */
export function commandHelp(command: Command): string {
  const lines = [
    `Usage: copepod ${command.usage}`,
    '',
    ...wrap(command.description ?? `${command.summary}.`, WIDTH),
  ];
  if (command.settings) lines.push('', 'Flags:', ...settingsHelp(command.settings));
  lines.push('  -h, --help', '        Show this help.', '');
  return lines.join('\n');
}

function settingsHelp(table: SettingsTable): string[] {
  return Object.values(table).flatMap((setting) => [
    `  --${setting.flag}${setting.type.placeholder ? ` ${setting.type.placeholder}` : ''}`,
    ...wrap(`${setting.help}${defaultOf(setting)} [${environmentName(setting.flag)}]`, WIDTH - 8).map(
      (line) => `        ${line}`,
    ),
  ]);
}

function defaultOf(setting: Setting<unknown>): string {
  if (setting.defaultText) return ` Default: ${setting.defaultText}.`;
  if (setting.list || setting.default === undefined) return '';
  return ` Default: ${String(setting.default)}.`;
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = '';
    }
    line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
