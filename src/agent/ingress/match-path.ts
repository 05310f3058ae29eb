/**
 * The path of a request target as rules see it: without query, unreserved characters decoded, slashes merged and dot
 * segments resolved, so that `/public/../admin` is the `/admin` that the backend will take it for. What is sent on stays
 * as it came. Undefined where the dots lead above the root: no honest client asks for that.
 */
export function matchPath(target: string): string | undefined {
  const path = decoded(target.replace(/[?#].*$/s, ''));
  if (!path.includes('//') && !path.includes('/.')) return path;
  const steps: string[] = [];
  const parts = path.split('/').slice(1);
  for (const part of parts) {
    if (part === '..') {
      if (steps.pop() === undefined) return undefined;
    } else if (part !== '' && part !== '.') steps.push(part);
  }
  const last = parts.at(-1);
  const open = last === '' || last === '.' || last === '..';
  return `/${steps.join('/')}${open && steps.length > 0 ? '/' : ''}`;
}

/** An encoded slash stays one: it does not divide. */
function decoded(path: string): string {
  if (!path.includes('%')) return path;
  return path.replace(/(?:%(?!2f)[0-9a-f]{2})+/gi, (run) => {
    try {
      return decodeURIComponent(run);
    } catch {
      return run;
    }
  });
}
