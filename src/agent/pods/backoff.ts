/** The kubelet's crash-loop back-off: 10 s, doubling up to 5 min; forgotten after twice that without a failure. */
export interface Backoff {
  delayMs: number;
  /** Monotonic. */
  updatedAt: number;
}

export const CRASH_BACKOFF = { initialMs: 10_000, maxMs: 300_000 };
export const IMAGE_BACKOFF = { initialMs: 10_000, maxMs: 300_000 };

interface Limits {
  initialMs: number;
  maxMs: number;
}

/**
 * When the next attempt may be made after a failure at `failedAt`: at once for the first failure, and after a run of
 * more than ten minutes (twice the longest delay).
 */
export function retryAt(
  backoff: Backoff | undefined,
  failedAt: number,
  limits: Limits = CRASH_BACKOFF,
): number {
  if (!backoff || expired(backoff, failedAt, limits)) return failedAt;
  return failedAt + backoff.delayMs;
}

/** The state after one more attempt at `now`, following a failure at `failedAt`. */
export function nextBackoff(
  backoff: Backoff | undefined,
  failedAt: number,
  now: number,
  limits: Limits = CRASH_BACKOFF,
): Backoff {
  const delayMs =
    !backoff || expired(backoff, failedAt, limits)
      ? limits.initialMs
      : Math.min(backoff.delayMs * 2, limits.maxMs);
  return { delayMs, updatedAt: now };
}

function expired(backoff: Backoff, at: number, limits: Limits): boolean {
  return at - backoff.updatedAt > 2 * limits.maxMs;
}

/** `10s`, `1m20s`, `5m0s`: a duration as Go prints it. */
export function goDuration(milliseconds: number): string {
  if (milliseconds < 1000) return `${trim(milliseconds)}ms`;
  const seconds = milliseconds / 1000;
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  const rest = trim(seconds % 60);
  if (hours > 0) return `${hours}h${minutes}m${rest}s`;
  if (minutes > 0) return `${minutes}m${rest}s`;
  return `${rest}s`;
}

function trim(value: number): string {
  return String(Math.round(value * 1000) / 1000);
}
