import type { HealthCheck } from './ports.ts';

export interface HealthAnswer {
  code: number;
  text: string;
}

/**
 * /healthz, /livez, /readyz and /<endpoint>/<check>, worded as Kubernetes words them. Undefined: there is no such check.
 */
export function health(
  endpoint: 'healthz' | 'livez' | 'readyz',
  checks: readonly HealthCheck[],
  options: { only?: string | undefined; verbose: boolean; exclude: readonly string[] },
): HealthAnswer | undefined {
  const scope = endpoint === 'healthz' ? 'livez' : endpoint;
  const all: HealthCheck[] = [
    { name: 'ping', for: ['livez', 'readyz'], check: () => true },
    ...checks.filter((check) => check.for.includes(scope)),
  ];
  if (options.only !== undefined) {
    const found = all.find(({ name }) => name === options.only);
    if (!found) return undefined;
    const problem = problemOf(found);
    return problem === undefined
      ? { code: 200, text: 'ok' }
      : { code: 500, text: `internal server error: ${problem}\n` };
  }
  let text = '';
  let failed = false;
  for (const check of all) {
    if (options.exclude.includes(check.name)) {
      text += `[+]${check.name} excluded: ok\n`;
      continue;
    }
    const problem = problemOf(check);
    failed ||= problem !== undefined;
    // The reason may tell of inner matters, and these paths are open to everyone; it is in the log.
    text += problem === undefined ? `[+]${check.name} ok\n` : `[-]${check.name} failed: reason withheld\n`;
  }
  if (failed) return { code: 500, text: `${text}${endpoint} check failed\n` };
  return { code: 200, text: options.verbose ? `${text}${endpoint} check passed\n` : 'ok' };
}

function problemOf({ check }: HealthCheck): string | undefined {
  try {
    const result = check();
    return result === true ? undefined : result;
  } catch (error) {
    return (error as Error).message;
  }
}
