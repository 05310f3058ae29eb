/**
 * The life of one process of the simulation. JavaScript cannot kill a promise: what a dead process had under way would
 * go on, so everything through which it touches the world is guarded. After `end` no guarded call does anything, and
 * none that was under way comes back.
 */
export class Life {
  private over = false;

  get ended(): boolean {
    return this.over;
  }

  end(): void {
    this.over = true;
  }

  /** `target` as this process holds it: dead hands move nothing. Getters and plain fields stay readable. */
  guard<T extends object>(target: T): T {
    const never = new Promise<never>(() => {});
    return new Proxy(target, {
      get: (object, property) => {
        const value: unknown = Reflect.get(object, property, object);
        if (typeof value !== 'function') return value;
        return (...given: unknown[]) => {
          if (this.over) return never;
          const result: unknown = value.apply(
            object,
            given.map((argument) => this.mortal(argument)),
          );
          return result instanceof Promise ? this.gate(result) : result;
        };
      },
    });
  }

  /** The outcome of work, if the process lives to see it. */
  gate<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      work.then(
        (value) => {
          if (!this.over) resolve(value);
        },
        (error: unknown) => {
          if (!this.over) reject(error);
        },
      );
    });
  }

  /** A callback handed out by the process dies with it. */
  private mortal(argument: unknown): unknown {
    if (typeof argument !== 'function') return argument;
    return (...given: unknown[]) => (this.over ? undefined : argument(...given));
  }
}
