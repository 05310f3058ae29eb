import { mkdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Mounter } from './volumes/port.ts';

/** Magic number of tmpfs in statfs(2). */
const TMPFS = 0x01021994;

export interface AgentDirectories {
  /** Journal and identity. */
  agent: string;
  /** `<uid>/volumes`, `<uid>/containers`. */
  pods: string;
  /** On a tmpfs: what must not, or need not, be on the card. */
  volatile: string;
}

export function agentDirectories(dataDir: string): AgentDirectories {
  return { agent: join(dataDir, 'agent'), pods: join(dataDir, 'pods'), volatile: join(dataDir, 'volatile') };
}

/** Makes them; mounts the tmpfs unless an earlier agent has. It stays when the agent stops: pods have it mounted. */
export async function prepareDirectories(directories: AgentDirectories, mounter: Mounter): Promise<void> {
  await mkdir(directories.agent, { recursive: true, mode: 0o700 });
  // Containers that do not run as root have to get through.
  await mkdir(directories.pods, { recursive: true, mode: 0o711 });
  await mkdir(directories.volatile, { recursive: true, mode: 0o711 });
  const { type } = await statfs(directories.volatile);
  if (type !== TMPFS) await mounter.mountTmpfs(directories.volatile, { mode: '0711' });
}
