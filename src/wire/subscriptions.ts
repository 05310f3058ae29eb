import type { Logger } from '../lib/logger.ts';
import { topicMatches } from './topic-filter.ts';

export type MessageHandler = (topic: string, payload: string, retained: boolean) => void;

/** The handlers of one bus by filter. A handler that throws is logged: the bus itself never breaks by a receiver. */
export class Subscriptions {
  private readonly handlers: { filter: string; handler: MessageHandler }[] = [];
  private readonly logger: Logger;

  constructor(logger: Logger) {
    this.logger = logger;
  }

  /** The same handler for the same filter counts once: subscribing again asks for the retained messages again. */
  add(filter: string, handler: MessageHandler): void {
    if (this.handlers.some((entry) => entry.filter === filter && entry.handler === handler)) return;
    this.handlers.push({ filter, handler });
  }

  filters(): string[] {
    return [...new Set(this.handlers.map(({ filter }) => filter))];
  }

  deliver(topic: string, payload: string, retained: boolean): void {
    for (const { filter, handler } of this.handlers) {
      if (topicMatches(filter, topic)) this.call(handler, topic, payload, retained);
    }
  }

  /** To the handlers of exactly this filter: the broker matches by itself. */
  deliverTo(filter: string, topic: string, payload: string, retained: boolean): void {
    for (const entry of this.handlers) {
      if (entry.filter === filter) this.call(entry.handler, topic, payload, retained);
    }
  }

  private call(handler: MessageHandler, topic: string, payload: string, retained: boolean): void {
    try {
      handler(topic, payload, retained);
    } catch (error) {
      this.logger.error({ err: error, topic }, 'a message handler failed');
    }
  }
}

/** Listeners of one kind; one that throws is logged. */
export class Listeners {
  private readonly listeners: (() => void)[] = [];
  private readonly logger: Logger;

  constructor(logger: Logger) {
    this.logger = logger;
  }

  add(listener: () => void): void {
    this.listeners.push(listener);
  }

  call(): void {
    for (const listener of this.listeners) {
      try {
        listener();
      } catch (error) {
        this.logger.error({ err: error }, 'a connection listener failed');
      }
    }
  }
}
