import { readFileSync } from 'node:fs';
import { ConfigError, type ConfigSources } from './resolve.ts';

/**
 * Reads the configuration file. One that was named (by flag or environment) has to exist, the default one need not.
 * The YAML parser is loaded only when there is something to parse.
 */
export async function readConfigFile(path: string, named: boolean): Promise<ConfigSources['file']> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && !named) return undefined;
    throw new ConfigError(`${path}: cannot be read (${code === 'ENOENT' ? 'no such file' : message})`);
  }
  const { parse } = await import('yaml');
  try {
    return { path, content: parse(text) };
  } catch (error) {
    throw new ConfigError(`${path}: ${(error as Error).message.split('\n')[0]}`);
  }
}
