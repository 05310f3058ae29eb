import { accessSync, constants, mkdirSync, statSync } from 'node:fs';
import { apiAtLeast, engineVersion, explainEngineFailure, OLDEST_API } from './docker-socket.ts';
import { Refusal } from './explain.ts';

/**
 * What has to be there before a server or an agent starts. Throws Refusal with the first thing that is not; `copepod
 * check` lists everything.
 */
export async function requireMachine(needs: { dataDir: string; dockerHost?: string }): Promise<void> {
  if (needs.dockerHost !== undefined && process.getuid?.() !== 0) {
    throw new Refusal(
      'pods need root (network namespaces, mounts): use sudo, or `copepod server --disable-agent` for the API alone',
    );
  }
  requireDataDir(needs.dataDir);
  if (needs.dockerHost !== undefined) await requireDocker(needs.dockerHost);
}

function requireDataDir(dataDir: string): void {
  const mend = 'give it to the user that copepod runs as, or choose another with --data-dir';
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    accessSync(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why =
      { EACCES: 'is not writable', EPERM: 'is not writable', EROFS: 'is on a read-only file system' }[
        code ?? ''
      ] ?? (code === 'ENOTDIR' || code === 'EEXIST' ? 'is not a directory' : `cannot be used (${message})`);
    throw new Refusal(`the data directory ${dataDir} ${why}: ${mend}`);
  }
  const { mode } = statSync(dataDir);
  // It holds the keys of the cluster: whoever can rename files in it owns the cluster.
  if (mode & 0o002) {
    throw new Refusal(`the data directory ${dataDir} can be written by everybody: chmod o-w ${dataDir}`);
  }
}

async function requireDocker(dockerHost: string): Promise<void> {
  const version = await engineVersion(dockerHost).catch((error: NodeJS.ErrnoException) => {
    throw new Refusal(explainEngineFailure(dockerHost, error));
  });
  if (!apiAtLeast(version.ApiVersion, OLDEST_API)) {
    throw new Refusal(
      `the Docker Engine at ${dockerHost} speaks API ${version.ApiVersion}, copepod needs ${OLDEST_API} (Docker 20.10) or newer`,
    );
  }
}
