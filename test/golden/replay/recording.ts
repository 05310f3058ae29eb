import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Recording {
  file: string;
  scenario: string;
  namespace: string;
  extraNamespaces?: string[];
  cleanup: string[];
  exchanges: Exchange[];
}

export interface Exchange {
  request: {
    method: string;
    path: string;
    headers: Record<string, string | string[]>;
    body?: unknown;
  };
  response: {
    status: number;
    headers: { 'content-type'?: string; warning?: string[] };
    body?: unknown;
    bodyContains?: string[];
  };
  role?: 'setup' | 'teardown';
  stream?: boolean;
  match?: 'subset';
  waitFor?: { path: string; status?: number; field?: string; equals?: unknown; timeoutMs?: number }[];
  sleepMs?: number;
  note?: string;
}

export function loadRecordings(directory: string): Recording[] {
  return readdirSync(directory)
    .filter((name) => name.endsWith('.json'))
    .sort()
    .map((file) => ({ file, ...JSON.parse(readFileSync(join(directory, file), 'utf8')) }));
}

/** Fills in `{{step.N.PATH}}` from the live answers; in paths the value is URL-encoded. */
export function substitute(text: string, answers: readonly unknown[], encode: boolean): string {
  return text.replace(/\{\{step\.(\d+)\.([^}]+)\}\}/g, (_, step: string, path: string) => {
    const value = String(at(answers[Number(step)], path) ?? '');
    return encode ? encodeURIComponent(value) : value;
  });
}

/** The value at a dot-separated path. */
export function at(value: unknown, path: string): unknown {
  let here = value;
  for (const part of path.split('.')) {
    if (typeof here !== 'object' || here === null) return undefined;
    here = (here as Record<string, unknown>)[part];
  }
  return here;
}
