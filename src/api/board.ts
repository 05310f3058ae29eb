/** What a board measures of itself. Fractions are 0..1, smoothed over about a minute; bytes and degrees Celsius are plain. */
export interface BoardMeasurements {
  /** CPU in use, fraction of all cores. */
  cpu: number;
  /** Load average over one minute. */
  load: number;
  /** Bytes: total and really available (MemAvailable). */
  memTotal: number;
  memAvailable: number;
  /** Bytes of the file system that holds Docker's data. */
  diskTotal: number;
  diskAvailable: number;
  /** Hottest sensor; absent where there is none. */
  temperature?: number;
  /** The board reports thermal or under-voltage throttling. */
  throttled?: boolean;
  /** Pods' own use by uid: [cpu in cores, memory working set in bytes]; sent only on request of an autoscaler (later). */
  pods?: Record<string, [number, number]>;
}
