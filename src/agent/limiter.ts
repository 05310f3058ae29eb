/**
 * Lets at most `limit` pieces of work run at once. The others wait in order; with a key, each key has a line of its own and
 * the lines take turns: a pod of a hundred containers holds up no other.
 */
export class Limiter {
  private readonly limit: number;
  private running = 0;
  /** In the order of their turns; a line that has been served goes to the end. */
  private readonly lines = new Map<string, (() => void)[]>();

  constructor(limit: number) {
    this.limit = limit;
  }

  async run<T>(work: () => Promise<T>, key = ''): Promise<T> {
    if (this.running >= this.limit) await new Promise<void>((resolve) => this.enqueue(key, resolve));
    else this.running += 1;
    try {
      return await work();
    } finally {
      // The place goes straight to the next in line, so that nobody who comes later gets in between.
      const next = this.next();
      if (next) next();
      else this.running -= 1;
    }
  }

  private enqueue(key: string, go: () => void): void {
    const line = this.lines.get(key);
    if (line) line.push(go);
    else this.lines.set(key, [go]);
  }

  private next(): (() => void) | undefined {
    for (const [key, line] of this.lines) {
      this.lines.delete(key);
      const go = line.shift();
      if (line.length > 0) this.lines.set(key, line);
      return go;
    }
    return undefined;
  }
}
