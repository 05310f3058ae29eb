/** A step that failed, with what the pod's status and events have to say of it. */
export class StepError extends Error {
  /** The container's waiting reason, or the step's name where no container waits. */
  readonly reason: string;
  /** The first retry, doubling up to `longestMs`. */
  readonly retryMs: number;
  readonly longestMs: number;

  constructor(options: { reason: string; message: string; retryMs: number; longestMs: number }) {
    super(options.message);
    this.name = 'StepError';
    this.reason = options.reason;
    this.retryMs = options.retryMs;
    this.longestMs = options.longestMs;
  }
}
