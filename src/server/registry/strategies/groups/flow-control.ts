// FlowSchemas and PriorityLevelConfigurations.
import type { FieldError } from '../../../../api/errors.ts';
import { dnsSubdomain } from '../../../../api/names.ts';
import type { JsonObject } from '../../../../api/object.ts';
import { jsonEqual } from '../../../../api/patch-json.ts';
import {
  asObject,
  checkName,
  duplicate,
  ensureObject,
  forbiddenField,
  invalidValue,
  listAt,
  notSupported,
  numberAt,
  objectAt,
  required,
  setDefault,
  stringAt,
} from '../../../../api/validation.ts';
import type { Strategy } from '../../strategy.ts';
import { ageCell, nameCell } from '../cells.ts';
import { validateFlowRule } from './flow-rules.ts';
import { row } from './rows.ts';

const DEFAULT_PRECEDENCE = 1000;
const HIGHEST_PRECEDENCE = 10_000;
const DEFAULT_SHARES = 30;
const DEFAULT_QUEUING = { queues: 64, handSize: 8, queueLengthLimit: 50 };
const MOST_QUEUES = 10_000_000;
/** A hand of queues is dealt from this many bits of a hash. */
const HASH_BITS = 60;
const METHODS = ['ByNamespace', 'ByUser'];

/** These make sure that nobody locks the server's own requests out. */
const MANDATORY = ['exempt', 'catch-all'];

function mandatoryStays(object: JsonObject, old: JsonObject): FieldError[] {
  const name = nameCell(object);
  if (!MANDATORY.includes(name) || jsonEqual(object.spec, old.spec)) return [];
  return [invalidValue('spec', object.spec, `spec of '${name}' must equal the fixed value`)];
}

function validateConditions(object: JsonObject): FieldError[] {
  const seen = new Set<string>();
  return listAt(objectAt(object, 'status'), 'conditions').flatMap((condition, index) => {
    const type = stringAt(condition, 'type');
    const field = `status.conditions[${index}].type`;
    const errors = seen.has(type) ? [duplicate(field, type)] : [];
    seen.add(type);
    return type === '' ? [...errors, required(field, 'must not be empty')] : errors;
  });
}

export const flowSchemaStrategy: Strategy = {
  hasGeneration: true,
  statusKeepsMetadata: true,
  applyDefaults: (object) => {
    const spec = ensureObject(object, 'spec');
    if ((numberAt(spec, 'matchingPrecedence') ?? 0) === 0) spec.matchingPrecedence = DEFAULT_PRECEDENCE;
  },
  prepareForCreate: (object) => {
    object.status = {};
  },
  validate: validateFlowSchema,
  validateUpdate: mandatoryStays,
  validateStatusUpdate: validateConditions,
  cells: (object, now) => {
    const spec = objectAt(object, 'spec');
    const dangling = listAt(objectAt(object, 'status'), 'conditions').find(({ type }) => type === 'Dangling');
    return [
      nameCell(object),
      stringAt(objectAt(spec, 'priorityLevelConfiguration'), 'name'),
      numberAt(spec, 'matchingPrecedence') ?? 0,
      stringAt(asObject(spec.distinguisherMethod), 'type') || '<none>',
      ageCell(object, now),
      dangling ? stringAt(dangling, 'status') : '?',
    ];
  },
};

function validateFlowSchema(object: JsonObject): FieldError[] {
  const spec = objectAt(object, 'spec');
  const precedence = numberAt(spec, 'matchingPrecedence') ?? 0;
  const errors: FieldError[] = [];
  const wrong = (why: string): number =>
    errors.push(invalidValue('spec.matchingPrecedence', precedence, why));
  if (precedence <= 0) wrong('must be a positive value');
  if (precedence > HIGHEST_PRECEDENCE) wrong(`must not be greater than ${HIGHEST_PRECEDENCE}`);
  if (precedence === 1 && nameCell(object) !== 'exempt') {
    wrong("only the schema named 'exempt' may have matchingPrecedence 1");
  }
  const method = asObject(spec.distinguisherMethod);
  if (method && !METHODS.includes(stringAt(method, 'type'))) {
    errors.push(notSupported('spec.distinguisherMethod.type', method.type ?? '', METHODS));
  }
  const level = stringAt(objectAt(spec, 'priorityLevelConfiguration'), 'name');
  const field = 'spec.priorityLevelConfiguration.name';
  if (level === '') errors.push(required(field, 'must reference a priority level'));
  else errors.push(...checkName(field, level, dnsSubdomain));
  listAt(spec, 'rules').forEach((rule, index) => {
    errors.push(...validateFlowRule(rule, `spec.rules[${index}]`));
  });
  return errors;
}

export const priorityLevelStrategy: Strategy = {
  hasGeneration: true,
  statusKeepsMetadata: true,
  applyDefaults: (object) => {
    const spec = ensureObject(object, 'spec');
    if (spec.type === 'Exempt') {
      const exempt = ensureObject(spec, 'exempt');
      setDefault(exempt, 'nominalConcurrencyShares', 0);
      setDefault(exempt, 'lendablePercent', 0);
    }
    const limited = asObject(spec.limited);
    if (!limited) return;
    setDefault(limited, 'nominalConcurrencyShares', DEFAULT_SHARES);
    setDefault(limited, 'lendablePercent', 0);
    const queuing = asObject(objectAt(limited, 'limitResponse').queuing);
    if (!queuing) return;
    for (const [field, value] of Object.entries(DEFAULT_QUEUING)) {
      if ((numberAt(queuing, field) ?? 0) === 0) queuing[field] = value;
    }
  },
  prepareForCreate: (object) => {
    object.status = {};
  },
  validate: validateLevel,
  validateUpdate: mandatoryStays,
  validateStatusUpdate: validateConditions,
  cells: row((object) => {
    const spec = objectAt(object, 'spec');
    const limited = asObject(spec.limited);
    const queuing = objectAt(objectAt(limited, 'limitResponse'), 'queuing');
    const shown = (parent: JsonObject | undefined, field: string) => numberAt(parent, field) ?? '<none>';
    return [
      stringAt(spec, 'type'),
      shown(limited, 'nominalConcurrencyShares'),
      shown(queuing, 'queues'),
      shown(queuing, 'handSize'),
      shown(queuing, 'queueLengthLimit'),
    ];
  }),
};

function validateLevel(object: JsonObject): FieldError[] {
  const spec = objectAt(object, 'spec');
  const type = stringAt(spec, 'type');
  const errors: FieldError[] = [];
  if ((nameCell(object) === 'exempt') !== (type === 'Exempt')) {
    errors.push(invalidValue('spec.type', type, "type must be 'Exempt' if and only if name is 'exempt'"));
  }
  const limited = asObject(spec.limited);
  const exempt = asObject(spec.exempt);
  if (type === 'Exempt') {
    if (limited) errors.push(forbiddenField('spec.limited', 'must be nil if the type is not Limited'));
    errors.push(...validateShares(exempt, 'spec.exempt'));
  } else if (type === 'Limited') {
    if (exempt) errors.push(forbiddenField('spec.exempt', 'must be nil if the type is Limited'));
    if (!limited) errors.push(required('spec.limited', 'must not be empty when type is Limited'));
    else errors.push(...validateLimited(limited, 'spec.limited'));
  } else {
    errors.push(notSupported('spec.type', type, ['Exempt', 'Limited']));
  }
  return errors;
}

function validateShares(part: JsonObject | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const shares = numberAt(part, 'nominalConcurrencyShares');
  if (shares !== undefined && shares < 0) {
    errors.push(invalidValue(`${path}.nominalConcurrencyShares`, shares, 'must be a non-negative integer'));
  }
  const lendable = numberAt(part, 'lendablePercent');
  if (lendable !== undefined && (lendable < 0 || lendable > 100)) {
    errors.push(invalidValue(`${path}.lendablePercent`, lendable, 'must be between 0 and 100, inclusive'));
  }
  return errors;
}

function validateLimited(limited: JsonObject, path: string): FieldError[] {
  const errors = validateShares(limited, path);
  const response = objectAt(limited, 'limitResponse');
  const at = `${path}.limitResponse`;
  const queuing = asObject(response.queuing);
  switch (response.type) {
    case 'Reject':
      if (queuing) {
        errors.push(
          forbiddenField(`${at}.queuing`, 'must be nil if limited.limitResponse.type is not Limited'),
        );
      }
      break;
    case 'Queue':
      if (queuing) errors.push(...validateQueuing(queuing, `${at}.queuing`));
      else {
        errors.push(required(`${at}.queuing`, 'must not be empty if limited.limitResponse.type is Limited'));
      }
      break;
    default:
      errors.push(notSupported(`${at}.type`, response.type ?? '', ['Queue', 'Reject']));
  }
  const borrowing = numberAt(limited, 'borrowingLimitPercent');
  if (borrowing !== undefined && borrowing < 0) {
    errors.push(
      invalidValue(
        `${path}.borrowingLimitPercent`,
        borrowing,
        'if specified, must be a non-negative integer',
      ),
    );
  }
  return errors;
}

function validateQueuing(queuing: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const count = (field: string): number => numberAt(queuing, field) ?? 0;
  const wrong = (field: string, why: string): number =>
    errors.push(invalidValue(`${path}.${field}`, count(field), why));
  const queues = count('queues');
  const hand = count('handSize');
  if (count('queueLengthLimit') <= 0) wrong('queueLengthLimit', 'must be positive');
  if (queues <= 0) wrong('queues', 'must be positive');
  else if (queues > MOST_QUEUES) wrong('queues', `must not be greater than ${MOST_QUEUES}`);
  if (hand <= 0) wrong('handSize', 'must be positive');
  else if (hand > queues) wrong('handSize', `should not be greater than queues (${queues})`);
  else if (entropyBits(queues, hand) > HASH_BITS) {
    wrong(
      'handSize',
      `required entropy bits of deckSize ${queues} and handSize ${hand} should not be greater than ${HASH_BITS}`,
    );
  }
  return errors;
}

/** Bits needed to deal `hand` cards out of `deck`, in order. */
function entropyBits(deck: number, hand: number): number {
  let bits = 0;
  // More cards than bits never fit: no need to count a hand of millions.
  for (let dealt = 0; dealt < hand && bits <= HASH_BITS; dealt += 1) bits += Math.log2(deck - dealt);
  return Math.ceil(bits);
}
