/** A part with a life: the constructor only assigns, `start` acts, `stop` undoes and waits until it is quiet. */
export interface Service {
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts services in order and stops them in reverse; a failed start stops what had started. */
export class ServiceGroup implements Service {
  private readonly services: readonly Service[];
  private started: Service[] = [];

  constructor(services: readonly Service[]) {
    this.services = services;
  }

  /** Everything in it, groups opened. */
  *parts(): Iterable<Service> {
    for (const service of this.services) {
      if (service instanceof ServiceGroup) yield* service.parts();
      else yield service;
    }
  }

  async start(): Promise<void> {
    for (const service of this.services) {
      try {
        await service.start();
      } catch (error) {
        await this.stop();
        throw error;
      }
      this.started.push(service);
    }
  }

  /** Stops everything even if one part fails to; throws the first failure afterwards. */
  async stop(): Promise<void> {
    const failures: unknown[] = [];
    for (const service of this.started.reverse()) {
      try {
        await service.stop();
      } catch (error) {
        failures.push(error);
      }
    }
    this.started = [];
    if (failures.length > 0) throw failures[0];
  }
}
