import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';

export interface StaticFile {
  body: Buffer;
  contentType: string;
  etag: string;
}

/** Where the dashboard's files come from: a directory, or what a bundle carries. */
export interface StaticFiles {
  /** `path` begins with a slash; `/` is the page itself. Undefined: no such file. */
  read(path: string): Promise<StaticFile | undefined>;
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.json': 'application/json',
  '.woff2': 'font/woff2',
  '.webmanifest': 'application/manifest+json',
  '.map': 'application/json',
  '.txt': 'text/plain; charset=utf-8',
};

/** Nothing from elsewhere, no inline scripts, nobody may frame it. WebSockets of the same host carry exec and watches. */
export const PAGE_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
};

/** One segment of a path: no leading dot, so neither `..` nor hidden files. */
const SEGMENT = /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/;

export class DirectoryFiles implements StaticFiles {
  private readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
  }

  async read(path: string): Promise<StaticFile | undefined> {
    const segments = path === '/' ? ['index.html'] : path.slice(1).split('/');
    if (!segments.every((segment) => SEGMENT.test(segment))) return undefined;
    const contentType = TYPES[extname(segments[segments.length - 1] as string)];
    if (contentType === undefined) return undefined;
    try {
      const body = await readFile(join(this.directory, ...segments));
      const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;
      return { body, contentType, etag };
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'EISDIR' || code === 'ENOTDIR') return undefined;
      throw error;
    }
  }
}
