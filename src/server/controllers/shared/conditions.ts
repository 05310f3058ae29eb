/** What all condition types of the API have in common. */
export interface AnyCondition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}

export function findCondition<C extends AnyCondition>(
  conditions: readonly C[] | undefined,
  type: string,
): C | undefined {
  return conditions?.find((condition) => condition.type === type);
}

/** Replaces or appends a condition; lastTransitionTime moves only when the status changes. */
export function withCondition<C extends AnyCondition>(
  conditions: readonly C[] | undefined,
  next: C,
  now: string,
): C[] {
  const list = conditions ?? [];
  const current = findCondition(list, next.type);
  const settled = {
    ...next,
    lastTransitionTime:
      current?.status === next.status && current.lastTransitionTime !== undefined
        ? current.lastTransitionTime
        : now,
  };
  return current
    ? list.map((condition) => (condition === current ? settled : condition))
    : [...list, settled];
}

export function withoutCondition<C extends AnyCondition>(
  conditions: readonly C[] | undefined,
  type: string,
): C[] {
  return (conditions ?? []).filter((condition) => condition.type !== type);
}
