// What the rules of the Pod Security Standards speak of: a pod and its containers, and how they are named in a sentence.
import type { JsonObject } from '../../../api/object.ts';
import { listAt, objectAt, stringAt } from '../../../api/validation.ts';

export interface PodUnderCheck {
  metadata: JsonObject;
  spec: JsonObject;
}

export interface Violation {
  /** In a few words: `host namespaces`. */
  reason: string;
  /** What exactly, or nothing. */
  detail: string;
}

export type Rule = (pod: PodUnderCheck) => Violation | undefined;

export const quoted = (values: Iterable<string>): string =>
  [...values].map((value) => JSON.stringify(value)).join(', ');
export const sorted = (values: Iterable<string>): string[] => [...new Set(values)].sort();
export const plural = (count: number, one: string, many: string): string => (count === 1 ? one : many);
export const named = (containers: readonly string[]): string =>
  `${plural(containers.length, 'container', 'containers')} ${quoted(containers)}`;

/** In the order in which they start. */
export function containersOf({ spec }: PodUnderCheck): JsonObject[] {
  return [
    ...listAt(spec, 'initContainers'),
    ...listAt(spec, 'containers'),
    ...listAt(spec, 'ephemeralContainers'),
  ];
}

export const securityOf = (holder: JsonObject): JsonObject => objectAt(holder, 'securityContext');
export const nameOf = (container: JsonObject): string => stringAt(container, 'name');
const isWindows = ({ spec }: PodUnderCheck): boolean => objectAt(spec, 'os').name === 'windows';
/** Root in a user namespace of its own is nobody outside of it. */
const hasUserNamespace = ({ spec }: PodUnderCheck): boolean => spec.hostUsers === false;

export const unlessWindows =
  (rule: Rule): Rule =>
  (pod) =>
    isWindows(pod) ? undefined : rule(pod);
export const unlessUserNamespace =
  (rule: Rule): Rule =>
  (pod) =>
    hasUserNamespace(pod) ? undefined : rule(pod);

/** The pod itself and its containers as the subject of a sentence: `pod and containers "a", "b"`. */
export function setters(pod: boolean, containers: readonly string[]): string {
  return [...(pod ? ['pod'] : []), ...(containers.length > 0 ? [named(containers)] : [])].join(' and ');
}
