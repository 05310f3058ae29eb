// FlowSchemas and PriorityLevelConfigurations, and the device kinds of resource.k8s.io.
import type { FieldError } from '../../../api/errors.ts';
import { dnsLabel, dnsSubdomain } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import {
  asObject,
  checkChoice,
  checkName,
  ensureObject,
  invalidValue,
  listAt,
  notSupported,
  numberAt,
  objectAt,
  required,
  setDefault,
  stringAt,
} from '../../../api/validation.ts';
import { checkImmutable } from '../../../api/validation-meta.ts';
import type { Strategy } from '../strategy.ts';
import { ageCell, nameCell } from './cells.ts';

export const flowSchemaStrategy: Strategy = {
  hasGeneration: true,
  applyDefaults: (object) => {
    const spec = ensureObject(object, 'spec');
    // Zero means unset here.
    if ((numberAt(spec, 'matchingPrecedence') ?? 0) === 0) spec.matchingPrecedence = 1000;
  },
  prepareForCreate: (object) => {
    object.status = {};
  },
  validate: (object) => {
    const spec = objectAt(object, 'spec');
    const precedence = numberAt(spec, 'matchingPrecedence') ?? 0;
    const errors: FieldError[] = [];
    if (precedence <= 0)
      errors.push(invalidValue('spec.matchingPrecedence', precedence, 'must be a positive value'));
    if (precedence > 10_000) {
      errors.push(invalidValue('spec.matchingPrecedence', precedence, 'must not be greater than 10000'));
    }
    const method = asObject(spec.distinguisherMethod);
    if (method) {
      errors.push(...checkChoice('spec.distinguisherMethod.type', method.type, ['ByNamespace', 'ByUser']));
    }
    if (stringAt(objectAt(spec, 'priorityLevelConfiguration'), 'name') === '') {
      errors.push(required('spec.priorityLevelConfiguration.name', 'must reference a priority level'));
    }
    listAt(spec, 'rules').forEach((rule, index) => {
      const path = `spec.rules[${index}]`;
      if (listAt(rule, 'subjects').length === 0) {
        errors.push(required(`${path}.subjects`, 'subjects must contain at least one value'));
      }
      if (listAt(rule, 'resourceRules').length === 0 && listAt(rule, 'nonResourceRules').length === 0) {
        errors.push(required(path, 'at least one of resourceRules and nonResourceRules has to be non-empty'));
      }
    });
    return errors;
  },
  cells: (object, now) => {
    const spec = objectAt(object, 'spec');
    const dangling = listAt(objectAt(object, 'status'), 'conditions').find(({ type }) => type === 'Dangling');
    return [
      nameCell(object),
      stringAt(objectAt(spec, 'priorityLevelConfiguration'), 'name'),
      numberAt(spec, 'matchingPrecedence') ?? 0,
      stringAt(objectAt(spec, 'distinguisherMethod'), 'type') || '<none>',
      ageCell(object, now),
      dangling ? stringAt(dangling, 'status') : '?',
    ];
  },
};

export const priorityLevelStrategy: Strategy = {
  hasGeneration: true,
  applyDefaults: (object) => {
    const spec = ensureObject(object, 'spec');
    const exempt = asObject(spec.exempt);
    if (spec.type === 'Exempt') {
      const level = exempt ?? ensureObject(spec, 'exempt');
      setDefault(level, 'nominalConcurrencyShares', 0);
      setDefault(level, 'lendablePercent', 0);
    }
    const limited = asObject(spec.limited);
    if (!limited) return;
    setDefault(limited, 'nominalConcurrencyShares', 30);
    setDefault(limited, 'lendablePercent', 0);
    const queuing = asObject(objectAt(limited, 'limitResponse').queuing);
    if (!queuing) return;
    for (const [field, value] of Object.entries({ queues: 64, handSize: 8, queueLengthLimit: 50 })) {
      if ((numberAt(queuing, field) ?? 0) === 0) queuing[field] = value;
    }
  },
  prepareForCreate: (object) => {
    object.status = {};
  },
  validate: (object) => {
    const spec = objectAt(object, 'spec');
    const type = stringAt(spec, 'type');
    if (type !== 'Exempt' && type !== 'Limited') {
      return [notSupported('spec.type', type, ['Exempt', 'Limited'])];
    }
    if (type === 'Limited' && !asObject(spec.limited)) {
      return [required('spec.limited', 'must not be empty when type is Limited')];
    }
    const response = objectAt(objectAt(spec, 'limited'), 'limitResponse');
    return type === 'Limited'
      ? checkChoice('spec.limited.limitResponse.type', response.type, ['Queue', 'Reject'])
      : [];
  },
  cells: (object, now) => {
    const spec = objectAt(object, 'spec');
    const limited = objectAt(spec, 'limited');
    const queuing = objectAt(objectAt(limited, 'limitResponse'), 'queuing');
    const shown = (value: number | undefined): string | number => value ?? '<none>';
    return [
      nameCell(object),
      stringAt(spec, 'type'),
      shown(
        numberAt(limited, 'nominalConcurrencyShares') ??
          numberAt(objectAt(spec, 'exempt'), 'nominalConcurrencyShares'),
      ),
      shown(numberAt(queuing, 'queues')),
      shown(numberAt(queuing, 'handSize')),
      shown(numberAt(queuing, 'queueLengthLimit')),
      ageCell(object, now),
    ];
  },
};

function defaultDevices(devices: JsonObject): void {
  for (const request of listAt(devices, 'requests')) {
    const exactly = asObject(request.exactly);
    if (exactly) defaultRequest(exactly);
    for (const alternative of listAt(request, 'firstAvailable')) defaultRequest(alternative);
  }
}

function defaultRequest(request: JsonObject): void {
  if (stringAt(request, 'allocationMode') === '') request.allocationMode = 'ExactCount';
  if (request.allocationMode === 'ExactCount' && (numberAt(request, 'count') ?? 0) === 0) request.count = 1;
}

function validateDevices(devices: JsonObject, path: string): FieldError[] {
  const names = new Set<string>();
  return listAt(devices, 'requests').flatMap((request, index) => {
    const at = `${path}.requests[${index}]`;
    const name = stringAt(request, 'name');
    const errors = name === '' ? [required(`${at}.name`)] : checkName(`${at}.name`, name, dnsLabel);
    if (names.has(name)) {
      errors.push({
        reason: 'FieldValueDuplicate',
        field: at,
        message: `Duplicate value: ${JSON.stringify(name)}`,
      });
    }
    names.add(name);
    const exactly = asObject(request.exactly);
    const alternatives = listAt(request, 'firstAvailable');
    if (!exactly && alternatives.length === 0) {
      errors.push(required(at, 'exactly one of `exactly` or `firstAvailable` is required'));
    }
    if (exactly) {
      const className = stringAt(exactly, 'deviceClassName');
      if (className === '') errors.push(required(`${at}.exactly.deviceClassName`));
      else errors.push(...checkName(`${at}.exactly.deviceClassName`, className, dnsSubdomain));
    }
    return errors;
  });
}

export const resourceClaimStrategy: Strategy = {
  returnsDeleted: true,
  applyDefaults: (object) => defaultDevices(objectAt(objectAt(object, 'spec'), 'devices')),
  prepareForCreate: (object) => {
    object.status = {};
  },
  validate: (object) => validateDevices(objectAt(objectAt(object, 'spec'), 'devices'), 'spec.devices'),
  validateUpdate: (object, old) => checkImmutable('spec', object.spec, old.spec),
  cells: (object, now) => {
    const status = objectAt(object, 'status');
    const states: string[] = [];
    if (objectAt(object, 'metadata').deletionTimestamp !== undefined) states.push('deleted');
    if (status.allocation === undefined) states.push('pending');
    else states.push('allocated', ...(listAt(status, 'reservedFor').length > 0 ? ['reserved'] : []));
    return [nameCell(object), states.join(','), ageCell(object, now)];
  },
};

export const resourceClaimTemplateStrategy: Strategy = {
  returnsDeleted: true,
  applyDefaults: (object) => defaultDevices(objectAt(objectAt(objectAt(object, 'spec'), 'spec'), 'devices')),
  validate: (object) =>
    validateDevices(objectAt(objectAt(objectAt(object, 'spec'), 'spec'), 'devices'), 'spec.spec.devices'),
  validateUpdate: (object, old) => checkImmutable('spec', object.spec, old.spec),
};

export const resourceSliceStrategy: Strategy = {
  hasGeneration: true,
  returnsDeleted: true,
  validate: (object) => {
    const spec = objectAt(object, 'spec');
    const errors: FieldError[] = [];
    if (stringAt(spec, 'driver') === '') errors.push(required('spec.driver'));
    const placed = ['nodeName', 'nodeSelector', 'allNodes', 'perDeviceNodeSelection'].filter(
      (field) => spec[field] !== undefined && spec[field] !== false && spec[field] !== '',
    );
    if (placed.length === 0) {
      errors.push(
        required(
          'spec',
          'exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required',
        ),
      );
    }
    return errors;
  },
  selectableFields: {
    'spec.nodeName': (object) => stringAt(objectAt(object, 'spec'), 'nodeName'),
    'spec.driver': (object) => stringAt(objectAt(object, 'spec'), 'driver'),
  },
  cells: (object, now) => {
    const spec = objectAt(object, 'spec');
    return [
      nameCell(object),
      stringAt(spec, 'nodeName'),
      stringAt(spec, 'driver'),
      stringAt(objectAt(spec, 'pool'), 'name'),
      ageCell(object, now),
    ];
  },
};

export const deviceClassStrategy: Strategy = {
  returnsDeleted: true,
  validate: (object) =>
    listAt(objectAt(object, 'spec'), 'selectors').flatMap((selector, index) =>
      stringAt(objectAt(selector, 'cel'), 'expression') === ''
        ? [required(`spec.selectors[${index}].cel.expression`)]
        : [],
    ),
};
