// ValidatingWebhookConfigurations and MutatingWebhookConfigurations.
import type { FieldError } from '../../../../api/errors.ts';
import { dns1035Label, dnsSubdomain, portNumber } from '../../../../api/names.ts';
import type { JsonObject } from '../../../../api/object.ts';
import {
  asObject,
  checkChoice,
  checkName,
  duplicate,
  invalidValue,
  isUnset,
  listAt,
  notSupported,
  numberAt,
  objectAt,
  required,
  setDefault,
  stringAt,
  stringsAt,
} from '../../../../api/validation.ts';
import type { Strategy } from '../../strategy.ts';
import {
  checkFailurePolicy,
  checkMatchPolicy,
  defaultMatching,
  defaultScopes,
  validateMatchConditions,
  validateRule,
  validateSelectors,
} from './match-rules.ts';
import { row } from './rows.ts';

const SIDE_EFFECTS = ['None', 'NoneOnDryRun'];
const REVIEW_VERSIONS = ['v1', 'v1beta1'];
const LONGEST_TIMEOUT = 30;

function webhooks(mutating: boolean): Strategy {
  return {
    hasGeneration: true,
    requireResourceVersionOnUpdate: true,
    applyDefaults: (object) => {
      for (const webhook of listAt(object, 'webhooks')) {
        if (isUnset(webhook.failurePolicy)) webhook.failurePolicy = 'Fail';
        defaultMatching(webhook);
        setDefault(webhook, 'timeoutSeconds', 10);
        if (mutating && isUnset(webhook.reinvocationPolicy)) webhook.reinvocationPolicy = 'Never';
        const service = asObject(objectAt(webhook, 'clientConfig').service);
        if (service) setDefault(service, 'port', 443);
        defaultScopes(listAt(webhook, 'rules'));
      }
    },
    validate: (object) => {
      const names = new Set<string>();
      return listAt(object, 'webhooks').flatMap((webhook, index) => {
        const path = `webhooks[${index}]`;
        const errors = [...validateWebhook(webhook, path, mutating), ...validateVersions(webhook, path)];
        const name = stringAt(webhook, 'name');
        if (name !== '' && names.has(name)) errors.push(duplicate(`${path}.name`, name));
        names.add(name);
        return errors;
      });
    },
    cells: row((object) => [listAt(object, 'webhooks').length]),
  };
}

export const validatingWebhookStrategy = webhooks(false);
export const mutatingWebhookStrategy = webhooks(true);

function validateWebhook(webhook: JsonObject, path: string, mutating: boolean): FieldError[] {
  const errors = validateFullName(stringAt(webhook, 'name'), `${path}.name`);
  listAt(webhook, 'rules').forEach((rule, index) => {
    errors.push(...validateRule(rule, `${path}.rules[${index}]`));
  });
  errors.push(...checkFailurePolicy(webhook, path), ...checkMatchPolicy(webhook, path));
  const effects = stringAt(webhook, 'sideEffects');
  if (effects === '') {
    errors.push(required(`${path}.sideEffects`, `must specify one of ${SIDE_EFFECTS.join(', ')}`));
  } else if (!SIDE_EFFECTS.includes(effects)) {
    errors.push(notSupported(`${path}.sideEffects`, effects, SIDE_EFFECTS));
  }
  const seconds = numberAt(webhook, 'timeoutSeconds');
  if (seconds !== undefined && (seconds < 1 || seconds > LONGEST_TIMEOUT)) {
    errors.push(
      invalidValue(
        `${path}.timeoutSeconds`,
        seconds,
        `the timeout value must be between 1 and ${LONGEST_TIMEOUT} seconds`,
      ),
    );
  }
  errors.push(...validateSelectors(webhook, path));
  if (mutating) {
    errors.push(
      ...checkChoice(`${path}.reinvocationPolicy`, webhook.reinvocationPolicy, ['IfNeeded', 'Never']),
    );
  }
  errors.push(...validateClientConfig(objectAt(webhook, 'clientConfig'), `${path}.clientConfig`));
  errors.push(...validateMatchConditions(listAt(webhook, 'matchConditions'), `${path}.matchConditions`));
  return errors;
}

/** At least three labels: `check.example.com`. */
function validateFullName(name: string, field: string): FieldError[] {
  if (name === '') return [required(field)];
  const rules = dnsSubdomain(name);
  if (rules.length > 0) return [invalidValue(field, name, rules.join(','))];
  return name.split('.').length < 3
    ? [invalidValue(field, name, 'should be a domain with at least three segments separated by dots')]
    : [];
}

function validateVersions(webhook: JsonObject, path: string): FieldError[] {
  const versions = stringsAt(webhook, 'admissionReviewVersions');
  const field = `${path}.admissionReviewVersions`;
  if (versions.length === 0) return [required(field, `must specify one of ${REVIEW_VERSIONS.join(', ')}`)];
  const seen = new Set<string>();
  const errors = versions.flatMap((version, index) => {
    if (seen.has(version)) return [invalidValue(`${field}[${index}]`, version, 'duplicate version')];
    seen.add(version);
    return checkName(`${field}[${index}]`, version, dns1035Label);
  });
  if (!versions.some((version) => REVIEW_VERSIONS.includes(version))) {
    errors.push(invalidValue(field, versions, `must include at least one of ${REVIEW_VERSIONS.join(', ')}`));
  }
  return errors;
}

/** Of webhooks and of CRD conversion. */
export function validateClientConfig(config: JsonObject, path: string): FieldError[] {
  const service = asObject(config.service);
  const hasUrl = config.url !== undefined;
  if (hasUrl === (service !== undefined)) {
    return [required(path, 'exactly one of url or service is required')];
  }
  return service
    ? validateService(service, `${path}.service`)
    : validateUrl(stringAt(config, 'url'), `${path}.url`);
}

const URL_FORM = '; desired format: https://host[/path]';

function validateUrl(text: string, field: string): FieldError[] {
  const wrong = (value: string, why: string): FieldError => invalidValue(field, value, `${why}${URL_FORM}`);
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return [required(field, `url must be a valid URL${URL_FORM}`)];
  }
  const errors: FieldError[] = [];
  const scheme = url.protocol.slice(0, -1);
  if (scheme !== 'https') errors.push(wrong(scheme, "'https' is the only allowed URL scheme"));
  if (url.host === '') errors.push(wrong(url.host, 'host must be specified'));
  if (url.username !== '' || url.password !== '') {
    errors.push(wrong(url.username, 'user information is not permitted in the URL'));
  }
  if (url.hash !== '') errors.push(wrong(url.hash.slice(1), 'fragments are not permitted in the URL'));
  if (url.search !== '') {
    errors.push(wrong(url.search.slice(1), 'query parameters are not permitted in the URL'));
  }
  return errors;
}

function validateService(service: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (stringAt(service, 'name') === '') {
    errors.push(required(`${path}.name`, 'service name is required'));
  }
  if (stringAt(service, 'namespace') === '') {
    errors.push(required(`${path}.namespace`, 'service namespace is required'));
  }
  const port = numberAt(service, 'port') ?? 0;
  for (const why of portNumber(port)) {
    errors.push(invalidValue(`${path}.port`, port, `port is not valid: ${why}`));
  }
  if (service.path === undefined) return errors;
  return [...errors, ...validatePath(stringAt(service, 'path'), `${path}.path`)];
}

function validatePath(path: string, field: string): FieldError[] {
  if (path === '/' || path === '') return [];
  if (path === '//') return [invalidValue(field, path, 'segment[0] may not be empty')];
  if (!path.startsWith('/')) return [invalidValue(field, path, "must start with a '/'")];
  const steps = path.slice(1).split('/');
  if (steps.at(-1) === '') steps.pop();
  return steps.flatMap((step, index) =>
    step === ''
      ? [invalidValue(field, path, `segment[${index}] may not be empty`)]
      : dnsSubdomain(step).map((why) => invalidValue(field, path, `segment[${index}]: ${why}`)),
  );
}
