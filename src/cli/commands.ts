import {
  agentSettings,
  cleanupSettings,
  type SettingsTable,
  serverSettings,
  tokenSettings,
} from '../config/settings.ts';
import type { FlagShape } from './arguments.ts';

/** A command as help and the parser see it; main.ts knows what it does. */
export interface Command {
  readonly name: string;
  /** After `copepod `. */
  readonly usage: string;
  /** One line, no full stop. */
  readonly summary: string;
  readonly description?: string;
  readonly settings?: SettingsTable;
  /** How many words may stand beside the flags. */
  readonly operands: number;
}

export const commands: readonly Command[] = [
  {
    name: 'server',
    usage: 'server [FLAGS]',
    summary: 'Run the server, with an agent for this machine unless --disable-agent',
    settings: serverSettings,
    operands: 0,
  },
  {
    name: 'agent',
    usage: 'agent --server https://HOST:6443 --token TOKEN [FLAGS]',
    summary: 'Run pods on this machine for a server elsewhere',
    settings: agentSettings,
    operands: 0,
  },
  {
    name: 'token',
    usage: 'token [create | list | delete ID] [FLAGS]',
    summary: 'Print, make, list or delete the tokens that agents join this server with',
    description:
      'Without more words: prints the token of this server, which is good for ever. `create` makes one that ends, `list` shows those, `delete` ends one now. A token pins the certificate authority of the server, so that an agent cannot be lured to another. Run it on the server; create, list and delete need the server to be up.',
    settings: tokenSettings,
    operands: 2,
  },
  {
    name: 'secrets-encrypt',
    usage: 'secrets-encrypt status|rotate [--data-dir PATH]',
    summary: 'Show, or change, the key that Secrets are encrypted with in the database',
    description:
      'status tells whether Secrets are encrypted (see --secrets-encryption of `copepod server`) and with which key. rotate makes a new key; the next start of the server rewrites all Secrets with it and drops the old one. Run it on the server.',
    settings: pick(serverSettings, 'config', 'dataDir'),
    operands: 1,
  },
  {
    name: 'check',
    usage: 'check [FLAGS]',
    summary: 'Tell what this machine lacks to run copepod, and how to get it',
    description:
      'Looks at everything that `copepod server` or `copepod agent` will need on this machine. Exit code 0: nothing is missing.',
    settings: pick(
      serverSettings,
      'config',
      'dataDir',
      'dockerHost',
      'httpsListenPort',
      'mqttListenPort',
      'bindAddress',
    ),
    operands: 0,
  },
  {
    name: 'cleanup',
    usage: 'cleanup [--yes] [FLAGS]',
    summary: 'Take away what copepod has made on this machine: containers, network, mounts, logs',
    description:
      'Removes the containers of pods, the nftables table, interfaces, routes and addresses, iptables chains, mounts, links in /var/log and control groups. Without --yes it only tells what there is. Stop copepod first. The data directory stays (of `copepod server` it is the cluster, of both the local volumes): rm -rf it to be rid of that too.',
    settings: {
      ...cleanupSettings,
      ...pick(serverSettings, 'config', 'dataDir', 'dockerHost', 'nodeName', 'containerLogDir'),
    },
    operands: 0,
  },
  {
    name: 'config',
    usage: 'config [FLAGS]',
    summary: 'Print the configuration that `copepod server` would run with, as JSON',
    settings: serverSettings,
    operands: 0,
  },
  { name: 'version', usage: 'version', summary: 'Print the version', operands: 0 },
  { name: 'help', usage: 'help [COMMAND]', summary: 'Show help', operands: 1 },
];

export function findCommand(name: string): Command | undefined {
  return commands.find((command) => command.name === name);
}

export function flagShapes(command: Command): FlagShape[] {
  return Object.values(command.settings ?? {}).map(({ flag, type }) =>
    type.placeholder === undefined ? { flag } : { flag, placeholder: type.placeholder },
  );
}

/** The command among `server` and `agent` that has this flag. */
export function ownerOfFlag(flag: string): string | undefined {
  return commands
    .filter(({ name }) => name === 'server' || name === 'agent')
    .find(({ settings }) => Object.values(settings ?? {}).some((setting) => setting.flag === flag))?.name;
}

function pick<Table extends SettingsTable>(table: Table, ...keys: (keyof Table & string)[]): SettingsTable {
  return Object.fromEntries(
    keys.map((key) => {
      const setting = table[key];
      if (!setting) throw new Error(`no setting ${key}`);
      return [key, setting];
    }),
  );
}
