/** What the streams need to know of the pods on this board; the pod workers answer it. */
export interface StreamTargets {
  /** The engine's id of a container: the running one, or the newest. Throws StreamRefusal with Kubernetes' words. */
  container(podUid: string, name: string, which: 'running' | 'newest' | 'previous'): string;
  /** The sandbox's process and address. Throws StreamRefusal when the pod does not run here. */
  network(podUid: string): { pid: number; ip: string | undefined };
}

/** A request that cannot be served; becomes the Status that the client sees. */
export class StreamRefusal extends Error {
  readonly reason: 'BadRequest' | 'NotFound' | 'InternalError';
  constructor(reason: StreamRefusal['reason'], message: string) {
    super(message);
    this.name = 'StreamRefusal';
    this.reason = reason;
  }

  get code(): number {
    return { BadRequest: 400, NotFound: 404, InternalError: 500 }[this.reason];
  }
}
