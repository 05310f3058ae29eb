/** `1,3-5,7` as a set. Anything that is not a number is skipped, anything from `limit` on left out. */
export function parseIndexes(text: string | undefined, limit: number): Set<number> {
  const indexes = new Set<number>();
  for (const part of (text ?? '').split(',')) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part.trim());
    if (!match) continue;
    const first = Number(match[1]);
    const last = Math.min(Number(match[2] ?? match[1]), limit - 1);
    for (let index = first; index <= last; index += 1) indexes.add(index);
  }
  return indexes;
}

/** The shortest text: runs of three and more as `a-b`, of two as `a,b`. */
export function formatIndexes(indexes: ReadonlySet<number>): string {
  const sorted = [...indexes].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let begin = 0; begin < sorted.length; ) {
    let end = begin;
    while (end + 1 < sorted.length && sorted[end + 1] === (sorted[end] as number) + 1) end += 1;
    if (end - begin >= 2) parts.push(`${sorted[begin]}-${sorted[end]}`);
    else for (let at = begin; at <= end; at += 1) parts.push(String(sorted[at]));
    begin = end + 1;
  }
  return parts.join(',');
}
