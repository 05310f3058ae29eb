// APIServices: which group versions there are, and who serves those that this server does not.
import type { FieldError } from '../../../../api/errors.ts';
import { dns1035Label, dnsSubdomain } from '../../../../api/names.ts';
import type { JsonObject } from '../../../../api/object.ts';
import {
  asObject,
  checkChoice,
  checkName,
  invalidValue,
  listAt,
  numberAt,
  objectAt,
  required,
  setDefault,
  stringAt,
} from '../../../../api/validation.ts';
import { timestamp } from '../../../../lib/clock.ts';
import type { Strategy } from '../../strategy.ts';
import { nameCell } from '../cells.ts';
import { row } from './rows.ts';

const HIGHEST_GROUP_PRIORITY = 20_000;
const HIGHEST_VERSION_PRIORITY = 1000;

export const apiServiceStrategy: Strategy = {
  nameRule: 'path-segment',
  requireResourceVersionOnUpdate: true,
  statusKeepsMetadata: true,
  applyDefaults: (object) => {
    const service = asObject(objectAt(object, 'spec').service);
    if (service) setDefault(service, 'port', 443);
  },
  prepareForCreate: (object, now) => {
    object.status = {};
    if (asObject(objectAt(object, 'spec').service)) return;
    object.status = {
      conditions: [
        {
          type: 'Available',
          status: 'True',
          lastTransitionTime: timestamp(now),
          reason: 'Local',
          message: 'Local APIServices are always available',
        },
      ],
    };
  },
  validate: validateApiService,
  validateStatusUpdate: (object) =>
    listAt(objectAt(object, 'status'), 'conditions').flatMap(({ status }, index) =>
      checkChoice(`status.conditions[${index}].status`, status, ['True', 'False', 'Unknown']),
    ),
  cells: row((object) => {
    const service = asObject(objectAt(object, 'spec').service);
    return [
      service ? `${stringAt(service, 'namespace')}/${stringAt(service, 'name')}` : 'Local',
      availability(object),
    ];
  }),
};

function availability(object: JsonObject): string {
  const condition = listAt(objectAt(object, 'status'), 'conditions').find(({ type }) => type === 'Available');
  if (!condition) return 'Unknown';
  return condition.status === 'True'
    ? 'True'
    : `${stringAt(condition, 'status')} (${stringAt(condition, 'reason')})`;
}

function validateApiService(object: JsonObject): FieldError[] {
  const spec = objectAt(object, 'spec');
  const group = stringAt(spec, 'group');
  const version = stringAt(spec, 'version');
  const errors: FieldError[] = [];
  const due = `${version}.${group}`;
  const name = nameCell(object);
  if (name !== due) {
    errors.push(
      invalidValue('metadata.name', name, `must be \`spec.version+"."+spec.group\`: ${JSON.stringify(due)}`),
    );
  }
  if (group === '' && version !== 'v1') {
    errors.push(required('spec.group', 'only v1 may have an empty group and it better be legacy kube'));
  }
  if (group !== '') errors.push(...checkName('spec.group', group, dnsSubdomain));
  errors.push(...checkName('spec.version', version, dns1035Label));
  errors.push(...checkPriority(spec, 'groupPriorityMinimum', HIGHEST_GROUP_PRIORITY));
  errors.push(...checkPriority(spec, 'versionPriority', HIGHEST_VERSION_PRIORITY));
  return [...errors, ...validateService(spec)];
}

function checkPriority(spec: JsonObject, field: string, highest: number): FieldError[] {
  const value = numberAt(spec, field) ?? 0;
  return value > 0 && value <= highest
    ? []
    : [invalidValue(`spec.${field}`, value, `must be positive and less than ${highest}`)];
}

function validateService(spec: JsonObject): FieldError[] {
  const service = asObject(spec.service);
  const bundle = Buffer.from(stringAt(spec, 'caBundle'), 'base64').length;
  const insecure = spec.insecureSkipTLSVerify === true;
  const errors: FieldError[] = [];
  if (!service) {
    if (bundle > 0) {
      errors.push(
        invalidValue('spec.caBundle', `${bundle} bytes`, 'local APIServices may not have a caBundle'),
      );
    }
    if (insecure) {
      errors.push(
        invalidValue(
          'spec.insecureSkipTLSVerify',
          true,
          'local APIServices may not have insecureSkipTLSVerify',
        ),
      );
    }
    return errors;
  }
  for (const field of ['namespace', 'name']) {
    if (stringAt(service, field) === '') errors.push(required(`spec.service.${field}`));
  }
  const port = numberAt(service, 'port') ?? 0;
  if (port < 1 || port > 65_535) {
    errors.push(
      invalidValue('spec.service.port', port, 'port is not valid: must be between 1 and 65535, inclusive'),
    );
  }
  if (insecure && bundle > 0) {
    errors.push(invalidValue('spec.insecureSkipTLSVerify', true, 'may not be true if caBundle is present'));
  }
  return errors;
}
