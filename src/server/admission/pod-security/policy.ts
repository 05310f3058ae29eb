// Which profile of the Pod Security Standards a namespace asks for by its labels, and what a pod violates of one.
import type { FieldError } from '../../../api/errors.ts';
import type { JsonObject } from '../../../api/object.ts';
import { invalidValue } from '../../../api/validation.ts';
import { CHECKS } from './checks.ts';
import type { PodUnderCheck, Violation } from './subjects.ts';

export const LEVELS = ['privileged', 'baseline', 'restricted'] as const;
export type Level = (typeof LEVELS)[number];
export const MODES = ['enforce', 'audit', 'warn'] as const;
export type Mode = (typeof MODES)[number];

/** A profile as it was in a version (`v1.<minor>`), or as it is now. */
export interface LevelVersion {
  level: Level;
  version: 'latest' | number;
}

export type Policy = Record<Mode, LevelVersion>;

const LABEL = 'pod-security.kubernetes.io/';

export const policyText = ({ level, version }: LevelVersion): string =>
  `${level}:${version === 'latest' ? version : `v1.${version}`}`;

export const samePolicy = (a: LevelVersion, b: LevelVersion): boolean =>
  a.level === b.level && a.version === b.version;

export const strictness = (level: Level): number => LEVELS.indexOf(level);

/**
 * What the labels of a namespace say. A wrong level counts as `restricted` where it is enforced and as `privileged`
 * where it would only be talked about. Who enforces and says nothing of warnings is warned of what is enforced, so that
 * workloads, whose pods would be refused later, tell at once.
 */
export function policyOf(labels: JsonObject): { policy: Policy; errors: FieldError[] } {
  const errors: FieldError[] = [];
  const policy: Policy = {
    enforce: { level: 'privileged', version: 'latest' },
    audit: { level: 'privileged', version: 'latest' },
    warn: { level: 'privileged', version: 'latest' },
  };
  const wrong = (label: string, value: unknown, why: string): void => {
    errors.push(invalidValue(`metadata.labels[${label}]`, value, why));
  };
  let enforces = false;
  for (const mode of MODES) {
    const level = labels[`${LABEL}${mode}`];
    if (level !== undefined) {
      const known = LEVELS.find((name) => name === level);
      if (known) policy[mode].level = known;
      else {
        policy[mode].level = mode === 'enforce' ? 'restricted' : 'privileged';
        wrong(`${LABEL}${mode}`, level, `must be one of ${LEVELS.join(', ')}`);
      }
      if (mode === 'enforce') enforces = known !== undefined;
    }
    const version = labels[`${LABEL}${mode}-version`];
    if (version !== undefined && version !== 'latest') {
      const minor = /^v1\.(0|[1-9][0-9]{0,8})$/.exec(String(version))?.[1];
      if (minor !== undefined) policy[mode].version = Number(minor);
      else wrong(`${LABEL}${mode}-version`, version, 'must be "latest" or "v1.x"');
    }
  }
  const { enforce, warn } = policy;
  if (
    labels[`${LABEL}warn`] === undefined &&
    enforces &&
    strictness(enforce.level) > strictness(warn.level)
  ) {
    warn.level = enforce.level;
    if (labels[`${LABEL}warn-version`] === undefined) warn.version = enforce.version;
  }
  return { policy, errors };
}

/** What of the profile the pod violates, in Kubernetes' order. */
export function violations({ level, version }: LevelVersion, pod: PodUnderCheck): Violation[] {
  if (level === 'privileged') return [];
  const at = version === 'latest' ? Number.POSITIVE_INFINITY : version;
  const active = CHECKS.filter((check) => level === 'restricted' || check.level === 'baseline')
    .map((check) => ({ ...check, rule: check.revisions.findLast(({ since }) => since <= at)?.rule }))
    .filter(({ rule }) => rule !== undefined);
  const replaced = new Set(active.map(({ replaces }) => replaces));
  return active
    .filter(({ id }) => !replaced.has(id))
    .map(({ rule }) => rule?.(pod))
    .filter((violation) => violation !== undefined);
}

/** `host namespaces (hostPID=true), privileged (…)` */
export function detailed(list: readonly Violation[]): string {
  return list.map(({ reason, detail }) => (detail === '' ? reason : `${reason} (${detail})`)).join(', ');
}

export const brief = (list: readonly Violation[]): string => list.map(({ reason }) => reason).join(', ');
