// A Policy of audit.k8s.io/v1: what of which request the audit log tells. Imported when --audit-policy-file is given.
import { readFile } from 'node:fs/promises';
import { dnsSubdomain } from '../../api/names.ts';
import type { Json, JsonObject } from '../../api/object.ts';
import { asObject, listAt, stringAt, stringsAt } from '../../api/validation.ts';
import type { UserInfo } from '../registry/port.ts';
import type { AuditRule, Level, Stage } from './audit-event.ts';
import type { RequestInfo, ResourceRequest } from './request-info.ts';
import { parseYaml } from './yaml-text.ts';

const LEVELS: readonly string[] = ['None', 'Metadata', 'Request', 'RequestResponse'] satisfies Level[];
const STAGES: readonly string[] = [
  'RequestReceived',
  'ResponseStarted',
  'ResponseComplete',
  'Panic',
] satisfies Stage[];
const POLICY_FIELDS = ['apiVersion', 'kind', 'metadata', 'rules', 'omitStages', 'omitManagedFields'];
const RULE_LISTS = ['users', 'userGroups', 'verbs', 'namespaces', 'nonResourceURLs', 'omitStages'];
const RULE_FIELDS = [...RULE_LISTS, 'level', 'resources', 'omitManagedFields'];
const RESOURCE_LISTS = ['resources', 'resourceNames'];

/** What is wrong with the policy, with the fields named. */
export class AuditPolicyError extends Error {
  constructor(path: string, problems: readonly string[]) {
    super(`audit policy ${path}: ${problems.join('; ')}`);
    this.name = 'AuditPolicyError';
  }
}

interface Rule extends AuditRule {
  readonly spec: JsonObject;
}

/** The first rule that matches a request decides; a request that none matches is not told of. */
export class AuditPolicy {
  private readonly rules: readonly Rule[];

  /** `policy` has been checked. */
  constructor(policy: JsonObject) {
    const omitted = stringsAt(policy, 'omitStages');
    this.rules = listAt(policy, 'rules').map((spec) => ({
      spec,
      level: spec.level as Level,
      omitStages: new Set([...omitted, ...stringsAt(spec, 'omitStages')]),
      omitManagedFields: (spec.omitManagedFields ?? policy.omitManagedFields) === true,
    }));
  }

  /** `user` is who the credentials name, not whom they act for. */
  of(user: UserInfo | undefined, info: RequestInfo | undefined): AuditRule | undefined {
    return this.rules.find(({ spec }) => matches(spec, user, info));
  }
}

function matches(rule: JsonObject, user: UserInfo | undefined, info: RequestInfo | undefined): boolean {
  const allows = (field: string, value: string): boolean => {
    const list = stringsAt(rule, field);
    return list.length === 0 || list.includes(value);
  };
  if (stringsAt(rule, 'users').length > 0 && (!user || !allows('users', user.name))) return false;
  const groups = stringsAt(rule, 'userGroups');
  if (groups.length > 0 && !groups.some((group) => user?.groups.includes(group))) return false;
  if (!allows('verbs', info?.verb ?? '')) return false;
  const resources = listAt(rule, 'resources');
  if (stringsAt(rule, 'namespaces').length > 0 || resources.length > 0) {
    if (info?.kind !== 'resource' || !allows('namespaces', info.namespace)) return false;
    return resources.length === 0 || resources.some((group) => matchesResource(group, info));
  }
  const urls = stringsAt(rule, 'nonResourceURLs');
  if (urls.length === 0) return true;
  return info?.kind === 'path' && urls.some((url) => matchesPath(url, info.path));
}

/** `pods`, `pods/log`, `pods/*`, `*` + `/scale`, `*`; no list: all of the group. */
function matchesResource(rule: JsonObject, { group, resource, subresource, name }: ResourceRequest): boolean {
  if (stringAt(rule, 'group') !== group) return false;
  const resources = stringsAt(rule, 'resources');
  if (resources.length === 0) return true;
  const names = stringsAt(rule, 'resourceNames');
  if (names.length > 0 && !names.includes(name)) return false;
  const whole = subresource === '' ? resource : `${resource}/${subresource}`;
  return resources.some(
    (wanted) =>
      wanted === '*' ||
      wanted === whole ||
      (subresource !== '' && wanted === `*/${subresource}`) ||
      wanted === `${resource}/*`,
  );
}

function matchesPath(wanted: string, path: string): boolean {
  return wanted.endsWith('*') ? path.startsWith(wanted.replace(/\*+$/, '')) : path === wanted;
}

/** Throws AuditPolicyError, or the system's error when the file cannot be read. */
export async function readAuditPolicy(path: string): Promise<AuditPolicy> {
  const text = await readFile(path, 'utf8');
  let value: unknown;
  try {
    value = parseYaml(text).value;
  } catch (error) {
    throw new AuditPolicyError(path, [(error as Error).message]);
  }
  const policy = asObject(value as Json);
  const problems = policy ? problemsOf(policy) : ['it is no object'];
  if (!policy || problems.length > 0) throw new AuditPolicyError(path, problems);
  return new AuditPolicy(policy);
}

/** As Kubernetes validates one; but a field that does not exist is wrong, where it only logs. */
export function problemsOf(policy: JsonObject): string[] {
  const { apiVersion, kind } = policy;
  if (apiVersion !== 'audit.k8s.io/v1' || kind !== 'Policy') {
    return [`kind: expected Policy of audit.k8s.io/v1, got ${quoted(kind)} of ${quoted(apiVersion)}`];
  }
  const { rules } = policy;
  if (!Array.isArray(rules) || rules.length === 0) return ['rules: Required value: there is no rule'];
  return [
    ...unknownFields(policy, POLICY_FIELDS, ''),
    ...stageProblems(policy, 'omitStages'),
    ...flagProblems(policy, ''),
    ...rules.flatMap((rule, index) => ruleProblems(asObject(rule), `rules[${index}]`)),
  ];
}

function ruleProblems(rule: JsonObject | undefined, path: string): string[] {
  if (!rule) return [`${path}: Invalid value: it is no object`];
  const lists = RULE_LISTS.flatMap((field) => listProblems(rule, field, path));
  if (lists.length > 0) return lists;
  const problems = [...unknownFields(rule, RULE_FIELDS, `${path}.`), ...flagProblems(rule, `${path}.`)];
  const { level, resources } = rule;
  if (level === undefined || level === '') problems.push(`${path}.level: Required value`);
  else if (!LEVELS.includes(level as string)) problems.push(unsupported(`${path}.level`, level, LEVELS));
  const urls = stringsAt(rule, 'nonResourceURLs');
  for (const [index, url] of urls.entries())
    problems.push(...urlProblems(url, `${path}.nonResourceURLs[${index}]`));
  if (resources !== undefined && resources !== null && !Array.isArray(resources)) {
    return [...problems, `${path}.resources: Invalid value: it is no list`];
  }
  for (const [index, group] of ((resources ?? []) as unknown[]).entries()) {
    problems.push(...groupProblems(asObject(group as Json), `${path}.resources[${index}]`));
  }
  const regular = listAt(rule, 'resources').length > 0 || stringsAt(rule, 'namespaces').length > 0;
  if (urls.length > 0 && regular) {
    problems.push(
      `${path}.nonResourceURLs: Invalid value: ${quoted(urls)}: rules cannot apply to both regular resources and non-resource URLs`,
    );
  }
  return [...problems, ...stageProblems(rule, `${path}.omitStages`)];
}

function urlProblems(url: string, path: string): string[] {
  const problems: string[] = [];
  const say = (why: string): void => void problems.push(`${path}: Invalid value: ${quoted(url)}: ${why}`);
  if (url === '*') return [];
  if (!url.startsWith('/')) say("non-resource URL rules must begin with a '/' character");
  if (url.slice(0, -1).includes('*'))
    say("non-resource URL wildcards '*' must be the final character of the rule");
  return problems;
}

function groupProblems(group: JsonObject | undefined, path: string): string[] {
  if (!group) return [`${path}: Invalid value: it is no object`];
  const lists = RESOURCE_LISTS.flatMap((field) => listProblems(group, field, path));
  if (lists.length > 0) return lists;
  const problems = unknownFields(group, ['group', ...RESOURCE_LISTS], `${path}.`);
  const name = group.group ?? '';
  if (typeof name !== 'string') problems.push(`${path}.group: Invalid value: ${quoted(name)}: it is no text`);
  else if (name !== '') {
    for (const why of dnsSubdomain(name))
      problems.push(`${path}.group: Invalid value: ${quoted(name)}: ${why}`);
  }
  if (stringsAt(group, 'resourceNames').length > 0 && stringsAt(group, 'resources').length === 0) {
    problems.push(
      `${path}.resourceNames: Invalid value: ${quoted(group.resourceNames)}: using resourceNames requires at least one resource`,
    );
  }
  return problems;
}

function stageProblems(object: JsonObject, path: string): string[] {
  const given = object.omitStages;
  if (given === undefined || given === null) return [];
  if (!Array.isArray(given)) return [`${path}: Invalid value: it is no list`];
  return given.flatMap((stage, index) =>
    STAGES.includes(stage as string) ? [] : [unsupported(`${path}[${index}]`, stage, STAGES)],
  );
}

function listProblems(object: JsonObject, field: string, path: string): string[] {
  const value = object[field];
  if (value === undefined || value === null) return [];
  const isTexts = Array.isArray(value) && value.every((one) => typeof one === 'string');
  return isTexts ? [] : [`${path}.${field}: Invalid value: ${quoted(value)}: it is no list of texts`];
}

function flagProblems({ omitManagedFields: given }: JsonObject, prefix: string): string[] {
  if (given === undefined || given === null || typeof given === 'boolean') return [];
  return [`${prefix}omitManagedFields: Invalid value: ${quoted(given)}: it is neither true nor false`];
}

function unknownFields(object: JsonObject, known: readonly string[], prefix: string): string[] {
  return Object.keys(object)
    .filter((field) => !known.includes(field))
    .map((field) => `unknown field ${quoted(`${prefix}${field}`)}`);
}

function unsupported(path: string, value: unknown, supported: readonly string[]): string {
  return `${path}: Unsupported value: ${quoted(value)}: supported values: ${supported.map(quoted).join(', ')}`;
}

const quoted = (value: unknown): string => JSON.stringify(value) ?? '""';
