// The pod spec, as it stands in pods and in the templates of workloads.
import type { FieldError } from '../../../api/errors.ts';
import { dnsLabel, dnsSubdomain, qualifiedName } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import {
  asObject,
  checkChoice,
  checkName,
  duplicate,
  ensureObject,
  forbiddenField,
  invalidValue,
  isUnset,
  listAt,
  numberAt,
  objectAt,
  required,
  setDefault,
  stringAt,
  stringsAt,
} from '../../../api/validation.ts';
import { validateAnnotations, validateLabels } from '../../../api/validation-meta.ts';
import { IP_RULE, isIp } from './addresses.ts';
import { validateAffinity, validateTolerations, validateTopologySpread } from './affinity.ts';
import {
  defaultContainer,
  validateContainers,
  validateEphemeralContainers,
  validateInitContainers,
} from './containers.ts';
import {
  claimNames,
  validateClaims,
  validateHostnameOverride,
  validateHostUsers,
  validateOs,
} from './pod-consistency.ts';
import { defaultPodLevelRequests, validatePodLevelResources } from './pod-level-resources.ts';
import { validateQuantity } from './resources.ts';
import { validatePodSecurity } from './security-context.ts';
import { defaultVolume, validateVolumes } from './volumes.ts';

const RESTART_POLICIES = ['Always', 'OnFailure', 'Never'];
const DNS_POLICIES = ['ClusterFirstWithHostNet', 'ClusterFirst', 'Default', 'None'];

/** The defaults that pods and templates share. */
export function defaultPodSpec(spec: JsonObject): void {
  setDefault(spec, 'dnsPolicy', 'ClusterFirst');
  setDefault(spec, 'restartPolicy', 'Always');
  setDefault(spec, 'securityContext', {});
  setDefault(spec, 'terminationGracePeriodSeconds', 30);
  setDefault(spec, 'schedulerName', 'default-scheduler');
  // The deprecated name of the field says the same as the new one.
  const account = stringAt(spec, 'serviceAccountName') || stringAt(spec, 'serviceAccount');
  if (account !== '') {
    spec.serviceAccountName = account;
    spec.serviceAccount = account;
  }
  const hostNetwork = spec.hostNetwork === true;
  for (const field of ['containers', 'initContainers', 'ephemeralContainers']) {
    for (const container of listAt(spec, field)) {
      defaultContainer(container, hostNetwork && field !== 'ephemeralContainers');
    }
  }
  for (const volume of listAt(spec, 'volumes')) defaultVolume(volume);
}

export function defaultTemplate(template: JsonObject): void {
  defaultPodSpec(ensureObject(template, 'spec'));
}

/** Pods only: what is limited is requested, unless another request was made. */
export function defaultRequests(spec: JsonObject): void {
  for (const field of ['containers', 'initContainers']) {
    for (const container of listAt(spec, field)) {
      const resources = objectAt(container, 'resources');
      const limits = objectAt(resources, 'limits');
      if (Object.keys(limits).length === 0) continue;
      const requests = ensureObject(resources, 'requests');
      for (const name of Object.keys(limits)) setDefault(requests, name, limits[name] ?? null);
    }
  }
  defaultPodLevelRequests(spec);
}

export function validatePodSpec(spec: JsonObject, path: string): FieldError[] {
  const { errors, known } = validateVolumes(listAt(spec, 'volumes'), `${path}.volumes`);
  const facts = {
    volumes: known,
    hostNetwork: spec.hostNetwork === true,
    hostUsers: spec.hostUsers !== false,
    claims: claimNames(spec),
    restartPolicy: stringAt(spec, 'restartPolicy'),
    grace: numberAt(spec, 'terminationGracePeriodSeconds'),
  };
  errors.push(
    ...validateClaims(spec, path),
    ...validateContainers(spec, `${path}.containers`, facts),
    ...validateInitContainers(spec, `${path}.initContainers`, facts),
    ...validateEphemeralContainers(spec, `${path}.ephemeralContainers`),
    ...checkRequired(`${path}.restartPolicy`, spec.restartPolicy, RESTART_POLICIES),
    ...checkRequired(`${path}.dnsPolicy`, spec.dnsPolicy, DNS_POLICIES),
    ...validateLabels(objectAt(spec, 'nodeSelector'), `${path}.nodeSelector`),
    ...validatePodSecurity(objectAt(spec, 'securityContext'), spec, `${path}.securityContext`),
    ...validateAffinity(asObject(spec.affinity), `${path}.affinity`),
    ...validateDns(spec, `${path}.dnsConfig`),
    ...listAt(spec, 'readinessGates').flatMap((gate, index) =>
      checkName(
        `${path}.readinessGates[${index}].conditionType`,
        stringAt(gate, 'conditionType'),
        qualifiedName,
      ),
    ),
    ...validateGates(listAt(spec, 'schedulingGates'), `${path}.schedulingGates`),
    ...validateTopologySpread(listAt(spec, 'topologySpreadConstraints'), `${path}.topologySpreadConstraints`),
    ...validatePodLevelResources(spec, `${path}.resources`),
    ...validateHostUsers(spec, path),
    ...validateHost(spec, path),
  );
  return errors;
}

function checkRequired(field: string, value: JsonObject[string], choices: string[]): FieldError[] {
  return isUnset(value) ? [required(field)] : checkChoice(field, value, choices);
}

function validateHost(spec: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const named = (field: string, check: typeof dnsLabel): void => {
    const value = stringAt(spec, field);
    if (value !== '') errors.push(...checkName(`${path}.${field}`, value, check));
  };
  named('serviceAccountName', dnsSubdomain);
  named('nodeName', dnsSubdomain);
  const deadline = numberAt(spec, 'activeDeadlineSeconds');
  if (deadline !== undefined && (deadline < 1 || deadline > 2147483647)) {
    errors.push(
      invalidValue(`${path}.activeDeadlineSeconds`, deadline, 'must be between 1 and 2147483647, inclusive'),
    );
  }
  named('hostname', dnsLabel);
  named('subdomain', dnsLabel);
  errors.push(...validateHostnameOverride(spec, path));
  errors.push(...validateTolerations(listAt(spec, 'tolerations'), `${path}.tolerations`));
  listAt(spec, 'hostAliases').forEach((alias, index) => {
    const at = `${path}.hostAliases[${index}]`;
    const ip = stringAt(alias, 'ip');
    if (!isIp(ip)) errors.push(invalidValue(`${at}.ip`, ip, IP_RULE));
    stringsAt(alias, 'hostnames').forEach((hostname, place) => {
      errors.push(...checkName(`${at}.hostnames[${place}]`, hostname, dnsSubdomain));
    });
  });
  named('priorityClassName', dnsSubdomain);
  named('runtimeClassName', dnsSubdomain);
  errors.push(
    ...checkChoice(`${path}.preemptionPolicy`, spec.preemptionPolicy, ['PreemptLowerPriority', 'Never']),
  );
  const overhead = objectAt(spec, 'overhead');
  for (const name of Object.keys(overhead)) {
    errors.push(...validateQuantity(overhead[name], `${path}.overhead[${name}]`));
  }
  return [...errors, ...validateOs(spec, path)];
}

function validateGates(gates: JsonObject[], field: string): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  gates.forEach((gate, index) => {
    const name = stringAt(gate, 'name');
    errors.push(...checkName(`${field}[${index}]`, name, qualifiedName));
    if (names.has(name)) errors.push(duplicate(`${field}[${index}]`, name));
    names.add(name);
  });
  return errors;
}

const MOST_NAMESERVERS = 3;
const MOST_SEARCHES = 32;

function validateDns(spec: JsonObject, path: string): FieldError[] {
  const config = asObject(spec.dnsConfig);
  const errors: FieldError[] = [];
  const servers = stringsAt(config, 'nameservers');
  if (spec.dnsPolicy === 'None') {
    if (!config) {
      return [required(path, 'must provide `dnsConfig` when `dnsPolicy` is None')];
    }
    if (servers.length === 0) {
      return [
        required(`${path}.nameservers`, 'must provide at least one DNS nameserver when `dnsPolicy` is None'),
      ];
    }
  }
  if (!config) return errors;
  if (servers.length > MOST_NAMESERVERS) {
    errors.push(
      invalidValue(`${path}.nameservers`, servers, `must not have more than ${MOST_NAMESERVERS} nameservers`),
    );
  }
  servers.forEach((server, index) => {
    if (!isIp(server)) errors.push(invalidValue(`${path}.nameservers[${index}]`, server, IP_RULE));
  });
  const searches = stringsAt(config, 'searches');
  if (searches.length > MOST_SEARCHES) {
    errors.push(
      invalidValue(`${path}.searches`, searches, `must not have more than ${MOST_SEARCHES} search paths`),
    );
  }
  searches.forEach((search, index) => {
    const name = search.endsWith('.') && search.length > 1 ? search.slice(0, -1) : search;
    if (name !== '.') errors.push(...checkName(`${path}.searches[${index}]`, name, dnsSubdomain));
  });
  listAt(config, 'options').forEach((option, index) => {
    if (stringAt(option, 'name') === '') {
      errors.push(required(`${path}.options[${index}]`, 'must not be empty'));
    }
  });
  return errors;
}

/** A pod template at `path` (`spec.template`), without the rules of the workload it is in. */
export function validateTemplate(template: JsonObject, path: string): FieldError[] {
  const metadata = objectAt(template, 'metadata');
  const spec = objectAt(template, 'spec');
  const errors = [
    ...validateLabels(objectAt(metadata, 'labels'), `${path}.metadata.labels`),
    ...validateAnnotations(objectAt(metadata, 'annotations'), `${path}.metadata.annotations`),
    ...validatePodSpec(spec, `${path}.spec`),
  ];
  if (listAt(spec, 'ephemeralContainers').length > 0) {
    errors.push(
      forbiddenField(`${path}.spec.ephemeralContainers`, 'ephemeral containers not allowed in pod template'),
    );
  }
  return errors;
}
