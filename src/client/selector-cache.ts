import { type LabelMatcher, selectorMatcher } from '../api/selectors.ts';
import type { LabelSelector } from '../api/types/meta-v1.ts';

export type MatchSelector = (
  selector: LabelSelector | undefined,
  labels: Readonly<Record<string, string>> | undefined,
) => boolean;

/** Matches labels against selectors and compiles each selector object once (objects in the cache never change). */
export function selectorCache(): MatchSelector {
  const compiled = new WeakMap<LabelSelector, LabelMatcher>();
  return (selector, labels) => {
    if (selector === undefined) return false;
    let matcher = compiled.get(selector);
    if (!matcher) {
      matcher = selectorMatcher(selector);
      compiled.set(selector, matcher);
    }
    return matcher(labels);
  };
}
