import manifest from '../../package.json' with { type: 'json' };

/** copepod's own version. */
export const VERSION: string = manifest.version;

/** The version of Kubernetes whose API is served. */
export const KUBERNETES_VERSION = 'v1.36.0';

export function versionText(): string {
  return [
    `copepod ${VERSION}`,
    `Kubernetes API ${KUBERNETES_VERSION}`,
    `Node.js ${process.version}, linux/${process.arch}`,
    '',
  ].join('\n');
}
