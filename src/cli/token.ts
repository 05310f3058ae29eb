import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../lib/clock.ts';
import { nameSuffix, type Random } from '../lib/random.ts';
import { type ApiCall, connectAsAdministrator } from './administrator.ts';
import { UsageError } from './arguments.ts';
import { Refusal } from './explain.ts';

/** Where the server keeps the token that agents join with. */
export const tokenFile = (dataDir: string): string => join(dataDir, 'server', 'token');

/** Throws Refusal when there is none that we may read. */
export function readJoinToken(dataDir: string): string {
  const path = tokenFile(dataDir);
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Refusal(
      code === 'EACCES'
        ? `no permission for ${path}: run as the user that the server runs as (sudo)`
        : `there is no token at ${path}: start \`copepod server\` once, or name its data directory with --data-dir`,
    );
  }
}

/** Tokens that end are bootstrap tokens of Kubernetes: Secrets that the API authenticates by, and that it deletes. */
const SECRETS = '/api/v1/namespaces/kube-system/secrets';
const TYPE = 'bootstrap.kubernetes.io/token';
/** Who holds one may join boards, and no more. */
const JOIN_GROUP = 'system:bootstrappers:copepod:default-node-token';
const USER = 'bootstrap';

export interface TokenValues {
  dataDir: string;
  /** Milliseconds; 0: no end. */
  ttl: number;
  description: string | undefined;
}

/** What `copepod token …` prints. Throws Refusal and UsageError. `call` is for tests. */
export async function runToken(
  [action, operand]: readonly string[],
  values: TokenValues,
  { clock, random, call }: { clock: Clock; random: Random; call?: ApiCall },
): Promise<string> {
  const api = (): ApiCall => call ?? connectAsAdministrator(values.dataDir);
  if (action !== undefined && action !== 'delete' && operand !== undefined) {
    throw new UsageError(`unexpected argument ${JSON.stringify(operand)}`);
  }
  switch (action) {
    case undefined:
      return `${readJoinToken(values.dataDir)}\n`;
    case 'create':
      return `${await createToken(api(), values, clock, random)}\n`;
    case 'list':
      return listTokens(
        await api()('GET', `${SECRETS}?fieldSelector=type%3D${encodeURIComponent(TYPE)}`),
        clock.now(),
      );
    case 'delete': {
      const id = tokenId(operand);
      await api()('DELETE', `${SECRETS}/bootstrap-token-${id}`);
      return `deleted the token ${id}\n`;
    }
    default:
      throw new UsageError(`unknown action ${JSON.stringify(action)}: create, list or delete`);
  }
}

async function createToken(
  call: ApiCall,
  values: TokenValues,
  clock: Clock,
  random: Random,
): Promise<string> {
  const id = nameSuffix(random, 6);
  const secret = random.bytes(8).toString('hex');
  await call('POST', SECRETS, {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: `bootstrap-token-${id}`, namespace: 'kube-system' },
    type: TYPE,
    stringData: {
      'token-id': id,
      'token-secret': secret,
      'usage-bootstrap-authentication': 'true',
      'auth-extra-groups': JOIN_GROUP,
      ...(values.description === undefined ? {} : { description: values.description }),
      ...(values.ttl === 0 ? {} : { expiration: seconds(clock.now() + values.ttl) }),
    },
  });
  // The pin of the CA is the same as in the server's own token.
  const [pin] = readJoinToken(values.dataDir).split('::');
  return `${pin}::${USER}:${id}.${secret}`;
}

const seconds = (time: number): string => `${new Date(time).toISOString().slice(0, 19)}Z`;

/** An id, or a whole token that has one. */
function tokenId(text: string | undefined): string {
  const id = /^(?:.*[:])?([a-z0-9]{6})(?:\.[a-z0-9]{16})?$/.exec(text ?? '')?.[1];
  if (id === undefined) throw new UsageError('name the token to delete: copepod token delete ID');
  return id;
}

interface SecretList {
  items?: { data?: Record<string, string> }[];
}

function listTokens(list: unknown, now: number): string {
  const rows = ((list as SecretList).items ?? []).map(({ data = {} }) => {
    const value = (key: string): string => Buffer.from(data[key] ?? '', 'base64').toString();
    const expires = value('expiration');
    return [value('token-id'), remaining(expires, now), expires || '-', value('description') || '-'];
  });
  const table = [['ID', 'LEFT', 'EXPIRES', 'DESCRIPTION'], ...rows.sort()];
  const widths = [0, 1, 2].map((column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  return table
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('   ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}

function remaining(expires: string, now: number): string {
  if (expires === '') return 'for ever';
  const left = Date.parse(expires) - now;
  if (!(left > 0)) return 'expired';
  const minutes = Math.floor(left / 60_000);
  if (minutes < 120) return `${minutes}m`;
  return minutes < 2880 ? `${Math.floor(minutes / 60)}h` : `${Math.floor(minutes / 1440)}d`;
}
