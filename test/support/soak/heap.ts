import type { Board } from '../boards.ts';
import { waitFor } from '../wait.ts';

/** MiB after a full collection of garbage. */
export interface Heap {
  /** What is reachable. */
  live: number;
  /** Buffers outside of V8's heap. */
  external: number;
}

const ASK = `
const list = await (await fetch('http://127.0.0.1:9229/json')).json();
const socket = new WebSocket(list[0].webSocketDebuggerUrl);
let id = 0;
const send = (method, params = {}) => new Promise((resolve) => {
  const own = ++id;
  socket.addEventListener('message', ({ data }) => {
    const message = JSON.parse(data);
    if (message.id === own) resolve(message.result);
  });
  socket.send(JSON.stringify({ id: own, method, params }));
});
await new Promise((resolve) => socket.addEventListener('open', resolve));
await send('HeapProfiler.enable');
await send('HeapProfiler.collectGarbage');
await send('HeapProfiler.collectGarbage');
const { result } = await send('Runtime.evaluate', { expression: 'JSON.stringify(process.memoryUsage())' });
process.stdout.write(result.value);
process.exit();
`;

/** Asks a process on the board by its inspector, which SIGUSR1 opens (and which stays open). */
export async function heapOf(board: Board, pid: number): Promise<Heap> {
  process.kill(pid, 'SIGUSR1');
  const text = await waitFor('the inspector', () =>
    board.run(process.execPath, '--input-type=module', '-e', ASK),
  );
  const { heapUsed, external } = JSON.parse(text) as { heapUsed: number; external: number };
  const mib = (bytes: number): number => Math.round((bytes / 1024 / 1024) * 10) / 10;
  return { live: mib(heapUsed), external: mib(external) };
}
