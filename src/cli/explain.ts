/** A failure whose message is already one clear line with its mend. */
export class Refusal extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'Refusal';
  }
}

interface SystemError extends Error {
  code?: string;
  address?: string;
  port?: number;
  path?: string;
}

/** Why the process ends, as one line with the mend where one is known. */
export function explain(error: unknown): string {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    const line = explainOne(cause as SystemError);
    if (line) return line;
  }
  return error instanceof Error ? error.message : String(error);
}

/** A mistake of ours, of which the stack tells where: to a user's mistake it would only add noise. */
export function isDefect(error: unknown): boolean {
  return !(error instanceof Error) || DEFECTS.some((kind) => error instanceof kind);
}

const DEFECTS = [TypeError, ReferenceError, RangeError, SyntaxError];

function explainOne({ code, address, port, path }: SystemError): string | undefined {
  switch (code) {
    case 'EADDRINUSE':
      return `port ${port} on ${address ?? 'this machine'} is in use: stop the program that has it (ss -ltnp), or choose another with --https-listen-port or --mqtt-listen-port`;
    case 'EADDRNOTAVAIL':
      return `this machine has no address ${address}: choose another with --bind-address or --node-ip`;
    case 'EACCES':
      if (port !== undefined) return `port ${port} may only be opened by root: use sudo or a port above 1023`;
      return path ? `no permission for ${path}: run as its owner or as root` : undefined;
    case 'ENOSPC':
      return `no space left on the disk${path ? ` of ${path}` : ''}: free some, or move with --data-dir`;
    case 'EROFS':
      return `${path ?? 'the data directory'} is on a read-only file system: choose another with --data-dir`;
    case 'SQLITE_BUSY':
    case 'SQLITE_LOCKED':
      return 'another copepod uses this data directory: stop it first, or choose another with --data-dir';
    case 'SQLITE_FULL':
      return 'no space left on the disk of the data directory: free some, or move with --data-dir';
    case 'SQLITE_READONLY':
    case 'SQLITE_CANTOPEN':
      return 'the database in the data directory cannot be opened for writing: check its owner and permissions';
    case 'SQLITE_CORRUPT':
    case 'SQLITE_NOTADB':
      return 'the database in the data directory is damaged: restore it from a backup';
    default:
      return undefined;
  }
}
