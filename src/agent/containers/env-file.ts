/**
 * The variables of a file that a container wrote for others (fileKeyRef): the part of a shell's syntax that Kubernetes takes.
 * `NAME='value'`, over several lines if it must be, taken as it stands; comments and blank lines in between. Throws with
 * the line that is none of this.
 */
export function parseEnvFile(text: string): Map<string, string> {
  const values = new Map<string, string>();
  let rest = text;
  let line = 1;
  const fail = (what: string): Error =>
    new Error(`invalid environment variable format at line ${line}: ${what}`);
  const take = (length: number): void => {
    line += rest.slice(0, length).split('\n').length - 1;
    rest = rest.slice(length);
  };
  while (rest !== '') {
    const blank = /^(?:[ \t]*(?:#[^\n]*)?(?:\n|$))/.exec(rest)?.[0];
    if (blank !== undefined && blank !== '') {
      take(blank.length);
      continue;
    }
    const [assignment = '', name = ''] = /^[ \t]*([^=\n]*)=/.exec(rest) ?? [];
    if (assignment === '') throw fail("missing '='");
    if (name === '') throw fail('empty variable name');
    if (/\s/.test(name)) throw fail("whitespace in the name or before '='");
    take(assignment.length);
    // A blank after `=` ends the value before it has begun, as in a shell.
    const quoted = /^'([^']*)'/.exec(rest);
    if (!quoted && !/^[ \t]*(?:#|\n|$)|^[ \t]/.test(rest)) throw fail('the value must be in single quotes');
    values.set(name, quoted?.[1] ?? '');
    take(quoted?.[0].length ?? 0);
    const tail = /^[^\n]*(?:\n|$)/.exec(rest)?.[0] ?? '';
    if (quoted && !/^(?:\s*$|[ \t]+#)/.test(tail)) throw fail('text after the closing quote');
    take(tail.length);
  }
  return values;
}
