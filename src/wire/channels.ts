/**
 * What travels in one stream between server and agent: WebSocket binary messages of one channel byte and data, as in
 * Kubernetes' v5.channel.k8s.io. The agent's first message is on STATUS: a metav1.Status that accepts (Success) or
 * refuses (Failure) the request; its last is on STATUS again, the outcome.
 */
export const CHANNEL = {
  STDIN: 0,
  STDOUT: 1,
  STDERR: 2,
  STATUS: 3,
  /** JSON: {"Width": columns, "Height": rows}. */
  RESIZE: 4,
  /** Its one data byte names a channel that carries nothing more (half-close). */
  CLOSE: 255,
} as const;

/** Bytes that may wait in one direction of a stream before its source is paused. */
export const STREAM_BUFFER_BYTES = 256 * 1024;
/** A larger message on a stream is an error. */
export const STREAM_MESSAGE_BYTES = 1024 * 1024;
