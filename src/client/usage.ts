/** What a container uses: CPU in cores, smoothed over the window, and its working set in bytes. */
export interface ContainerUsage {
  readonly name: string;
  readonly cpu: number;
  readonly memory: number;
}

export interface PodUsage {
  /** Wall time of receipt, ms. */
  readonly at: number;
  readonly windowMs: number;
  readonly containers: readonly ContainerUsage[];
}

/**
 * What pods use, as their boards measure it. Boards measure only while somebody asks: asking makes them begin, and the
 * first answer comes some seconds later.
 */
export interface UsageSource {
  /** Undefined when the board has not told, or not lately. */
  of(node: string, podUid: string): PodUsage | undefined;
}
