import { Worker } from 'node:worker_threads';

const TEXT_BYTES = 4000;
const SOURCE = `
const { workerData, parentPort } = require('node:worker_threads');
const beats = new Int32Array(workerData.beats);
const text = Buffer.from(workerData.text);
let last = -1;
const timer = setInterval(() => {
  const now = Atomics.load(beats, 0);
  if (now === last) {
    require('node:fs').writeSync(2, 'the event loop has stood still for ' + workerData.ms + ' ms, at\\n'
      + text.toString('utf8', 0, Atomics.load(beats, 1)) + '\\n');
    process.kill(process.pid, 'SIGKILL');
  }
  last = now;
}, workerData.ms);
parentPort.once('message', () => { clearInterval(timer); parentPort.close(); });
`;

/**
 * Ends this process when its event loop stands still: an endless loop, or a regular expression that takes exponential
 * time, would otherwise hang the test that is to find it. Says which request was being answered.
 */
export class Watchdog {
  private readonly beats = new Int32Array(new SharedArrayBuffer(8));
  private readonly text = new SharedArrayBuffer(TEXT_BYTES);
  private readonly worker: Worker;
  private readonly pulse: NodeJS.Timeout;

  constructor(milliseconds: number) {
    this.worker = new Worker(SOURCE, {
      eval: true,
      execArgv: [],
      workerData: { beats: this.beats.buffer, text: this.text, ms: milliseconds },
    });
    this.pulse = setInterval(() => Atomics.add(this.beats, 0, 1), milliseconds / 10);
  }

  /** What is being done now. */
  tell(what: string): void {
    const written = Buffer.from(this.text).write(what);
    Atomics.store(this.beats, 1, written);
    Atomics.add(this.beats, 0, 1);
  }

  async stop(): Promise<void> {
    clearInterval(this.pulse);
    this.worker.postMessage('stop');
    await new Promise((resolve) => this.worker.once('exit', resolve));
  }
}
