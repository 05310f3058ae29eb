// Who listens at a TCP port of this machine, as ss(8) of iproute2 tells it.

/** The program and its arguments. */
export function listenerQuery(port: number): { file: string; args: string[] } {
  const filter = `sport = :${port}`;
  return {
    file: 'ss',
    args: ['--no-header', '--listening', '--tcp', '--numeric', '--processes', filter],
  };
}

/** `nginx (pid 812)` of what it prints; undefined when it names nobody: without root, or from another namespace. */
export function listenerName(output: string): string | undefined {
  const found = /users:\(\("((?:[^"\\]|\\.)*)",pid=(\d+)/.exec(output);
  if (!found) return undefined;
  // What Node calls the thread that ss takes for the program: a copepod that runs already, say.
  const name = found[1] === 'MainThread' ? 'node' : found[1];
  return `${name} (pid ${found[2]})`;
}
