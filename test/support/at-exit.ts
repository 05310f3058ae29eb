/**
 * What must not outlive this process when it ends without having stopped it: other processes, namespaces, engines. One
 * listener for all of them, however many boards a test has; the last that was added is ended first.
 */
const endings = new Set<() => void>();

const endAll = (): void => {
  for (const end of [...endings].reverse()) end();
  endings.clear();
};

/** What ends a process without its `exit` event unless somebody listens: a test run that is interrupted or timed out. */
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/** Not by process.exit, which vitest takes away from the files that it runs. */
const endBySignal = (signal: NodeJS.Signals): void => {
  endAll();
  for (const each of SIGNALS) process.removeListener(each, endBySignal);
  process.kill(process.pid, signal);
};

/** `end` is called when this process ends, unless `forgetAtExit` was called with it before. Must not throw. */
export function endAtExit(end: () => void): void {
  if (endings.size === 0) {
    process.on('exit', endAll);
    for (const signal of SIGNALS) process.on(signal, endBySignal);
  }
  endings.add(end);
}

export function forgetAtExit(end: () => void): void {
  endings.delete(end);
  if (endings.size > 0) return;
  process.removeListener('exit', endAll);
  for (const signal of SIGNALS) process.removeListener(signal, endBySignal);
}
