import { request } from 'node:http';

/** What `GET /version` of a Docker Engine tells; only what copepod looks at. */
export interface EngineVersion {
  Version: string;
  ApiVersion: string;
}

/** Docker 20.10, in Debian 11 and 12. */
export const OLDEST_API = '1.41';

export function apiAtLeast(version: string, oldest: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [oldMajor = 0, oldMinor = 0] = oldest.split('.').map(Number);
  return major > oldMajor || (major === oldMajor && minor >= oldMinor);
}

/** Asks the engine behind `unix:///path`. Rejects with the socket's own error, or ETIMEDOUT after `timeoutMs`. */
export function engineVersion(dockerHost: string, timeoutMs = 5000): Promise<EngineVersion> {
  const socketPath = dockerHost.replace(/^unix:\/\//, '');
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, path: '/version', timeout: timeoutMs }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('error', reject);
      answer.on('end', () => {
        try {
          resolve(JSON.parse(Buffer.concat(chunks).toString()) as EngineVersion);
        } catch {
          reject(new Error(`no Docker Engine answers at ${socketPath} (HTTP ${answer.statusCode})`));
        }
      });
    });
    asked.on('timeout', () =>
      asked.destroy(Object.assign(new Error(`no answer from ${socketPath}`), { code: 'ETIMEDOUT' })),
    );
    asked.on('error', reject);
    asked.end();
  });
}

/** One line saying why the engine at `dockerHost` cannot be used, with the mend. */
export function explainEngineFailure(dockerHost: string, error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'ENOENT':
      return `there is no Docker Engine at ${dockerHost}: install one (apt-get install docker.io), or name another with --docker-host`;
    case 'ECONNREFUSED':
      return `the Docker Engine at ${dockerHost} is not running: start it (systemctl start docker), or name another with --docker-host`;
    case 'EACCES':
      return `no permission for the Docker Engine at ${dockerHost}: run as root`;
    case 'ETIMEDOUT':
      return `the Docker Engine at ${dockerHost} does not answer: restart it (systemctl restart docker)`;
    default:
      return `the Docker Engine at ${dockerHost} cannot be used: ${error.message}`;
  }
}
