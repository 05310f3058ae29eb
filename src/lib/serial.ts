/** Runs work one after another for each key; different keys run beside each other. A key without work costs nothing. */
export class SerialByKey<Key> {
  private readonly tails = new Map<Key, Promise<unknown>>();

  /** Resolves or rejects with the outcome of `work`, which starts when the key's earlier work has ended. */
  run<T>(key: Key, work: () => Promise<T>): Promise<T> {
    const previous = this.tails.get(key) ?? Promise.resolve();
    const result = previous.then(work, work);
    const tail = result.then(
      () => {},
      () => {},
    );
    this.tails.set(key, tail);
    void tail.then(() => {
      if (this.tails.get(key) === tail) this.tails.delete(key);
    });
    return result;
  }

  /** Resolves when everything queued so far has ended. */
  async settled(): Promise<void> {
    await Promise.all(this.tails.values());
  }
}
