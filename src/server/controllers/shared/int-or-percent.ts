/** An absolute number or a percentage of `total`, as maxSurge and maxUnavailable are written. */
export function scaledValue(
  value: number | string | undefined,
  total: number,
  round: 'up' | 'down',
  absent = 0,
): number {
  if (value === undefined) return absent;
  if (typeof value === 'number') return value;
  const percent = /^(\d+)%$/.exec(value);
  if (!percent) throw new Error(`invalid value for IntOrString: ${value}`);
  const exact = (Number(percent[1]) * total) / 100;
  return round === 'up' ? Math.ceil(exact) : Math.floor(exact);
}

/**
 * How many pods a rolling update may add and miss. Surge rounds up and unavailable down; when both come to nothing the
 * update could never move, so one may be unavailable (ResolveFenceposts of Kubernetes).
 */
export function rollingLimits(
  rolling: { maxSurge?: number | string; maxUnavailable?: number | string } | undefined,
  replicas: number,
): { surge: number; unavailable: number } {
  const surge = scaledValue(rolling?.maxSurge ?? '25%', replicas, 'up');
  const unavailable = scaledValue(rolling?.maxUnavailable ?? '25%', replicas, 'down');
  return surge === 0 && unavailable === 0 ? { surge: 0, unavailable: 1 } : { surge, unavailable };
}
