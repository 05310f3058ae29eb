import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const TIMEOUT_MS = 10_000;

/** Rejects with what systemctl wrote, or that it is not installed. */
export async function systemctl(args: string[]): Promise<void> {
  try {
    await run('systemctl', args, { timeout: TIMEOUT_MS });
  } catch (error) {
    const { code, stderr, message } = error as NodeJS.ErrnoException & { stderr?: string };
    throw new Error(code === 'ENOENT' ? 'systemctl is not installed' : stderr?.trim() || message);
  }
}
