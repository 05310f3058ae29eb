// Events in the shape of core/v1; events.k8s.io/v1 is converted to it.
import type { FieldError } from '../../../api/errors.ts';
import { qualifiedName } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import { jsonEqual } from '../../../api/patch-json.ts';
import {
  asObject,
  checkName,
  invalidValue,
  isUnset,
  numberAt,
  objectAt,
  required,
  stringAt,
} from '../../../api/validation.ts';
import { checkImmutable } from '../../../api/validation-meta.ts';
import { fieldsAt } from '../selection.ts';
import type { Strategy } from '../strategy.ts';
import { ageOf } from './age.ts';
import { nameCell } from './cells.ts';

export const eventStrategy: Strategy = {
  durability: 'volatile',
  allowCreateOnUpdate: true,
  validate: validateEvent,
  validateCreate: (event, apiVersion) => (apiVersion === 'events.k8s.io/v1' ? validateNewEvent(event) : []),
  validateUpdate: (event, old, apiVersion) =>
    apiVersion === 'events.k8s.io/v1' ? validateEventUpdate(event, old) : [],
  fieldLabelError: (field) => `field label not supported: ${field}`,
  selectableFields: {
    ...fieldsAt(
      'involvedObject.kind',
      'involvedObject.namespace',
      'involvedObject.name',
      'involvedObject.uid',
      'involvedObject.apiVersion',
      'involvedObject.resourceVersion',
      'involvedObject.fieldPath',
      'reason',
      'reportingComponent',
      'type',
    ),
    source: (event) =>
      stringAt(objectAt(event, 'source'), 'component') || stringAt(event, 'reportingComponent'),
  },
  fieldNames: {
    'events.k8s.io/v1': {
      'regarding.kind': 'involvedObject.kind',
      'regarding.namespace': 'involvedObject.namespace',
      'regarding.name': 'involvedObject.name',
      'regarding.uid': 'involvedObject.uid',
      'regarding.apiVersion': 'involvedObject.apiVersion',
      'regarding.resourceVersion': 'involvedObject.resourceVersion',
      'regarding.fieldPath': 'involvedObject.fieldPath',
      reason: 'reason',
      reportingController: 'reportingComponent',
      type: 'type',
    },
  },
  cells: (event, now) => {
    const involved = objectAt(event, 'involvedObject');
    const source = objectAt(event, 'source');
    const series = objectAt(event, 'series');
    const first = event.firstTimestamp ?? event.eventTime;
    const last = series.lastObservedTime ?? event.lastTimestamp ?? first;
    const component = stringAt(source, 'component') || stringAt(event, 'reportingComponent');
    const host = stringAt(source, 'host') || stringAt(event, 'reportingInstance');
    return [
      ageOf(last, now),
      stringAt(event, 'type'),
      stringAt(event, 'reason'),
      [stringAt(involved, 'kind').toLowerCase(), stringAt(involved, 'name')].filter(Boolean).join('/'),
      stringAt(involved, 'fieldPath'),
      host === '' ? component : `${component}, ${host}`,
      stringAt(event, 'message').trim(),
      ageOf(first, now),
      numberAt(series, 'count') ?? (numberAt(event, 'count') || 1),
      nameCell(event),
    ];
  },
};

const LONGEST_NAME = 128;
const LONGEST_NOTE = 1024;

/** What only the API of core/v1 may still set. */
const DEPRECATED: readonly (readonly [field: string, isSet: (event: JsonObject) => boolean])[] = [
  ['firstTimestamp', (event) => !isUnset(event.firstTimestamp)],
  ['lastTimestamp', (event) => !isUnset(event.lastTimestamp)],
  ['count', (event) => (numberAt(event, 'count') ?? 0) !== 0],
  [
    'source',
    ({ source }) =>
      stringAt(asObject(source), 'component') !== '' || stringAt(asObject(source), 'host') !== '',
  ],
];

/** The rules of events.k8s.io/v1. */
function validateNewEvent(event: JsonObject): FieldError[] {
  const errors = validateSeries(event);
  if (isUnset(event.eventTime)) errors.push(required('eventTime'));
  const type = stringAt(event, 'type');
  if (type !== 'Normal' && type !== 'Warning') {
    errors.push(invalidValue('type', '', `has invalid value: ${type}`));
  }
  for (const [field, isSet] of DEPRECATED) {
    if (isSet(event)) errors.push(invalidValue(field, '', 'needs to be unset'));
  }
  return errors;
}

function validateSeries(event: JsonObject): FieldError[] {
  const series = asObject(event.series);
  if (!series) return [];
  const errors: FieldError[] = [];
  if ((numberAt(series, 'count') ?? 0) < 2) {
    errors.push(invalidValue('series.count', '', 'should be at least 2'));
  }
  if (isUnset(series.lastObservedTime)) errors.push(required('series.lastObservedTime'));
  return errors;
}

const UNCHANGING = [
  'involvedObject',
  'reason',
  'message',
  'source',
  'firstTimestamp',
  'lastTimestamp',
  'count',
  'type',
  'eventTime',
  'action',
  'related',
  'reportingComponent',
  'reportingInstance',
];

/** An event happened as it did: only its series goes on. */
function validateEventUpdate(event: JsonObject, old: JsonObject): FieldError[] {
  return [
    ...(jsonEqual(event.series, old.series) ? [] : validateSeries(event)),
    ...UNCHANGING.flatMap((field) =>
      checkImmutable(
        field === 'reportingComponent' ? 'reportingController' : field,
        event[field],
        old[field],
      ),
    ),
  ];
}

/** Events with a time of their own are those of events.k8s.io, and have to be complete. */
function validateEvent(event: JsonObject, apiVersion?: string): FieldError[] {
  const namespace = stringAt(objectAt(event, 'metadata'), 'namespace');
  const involved = stringAt(objectAt(event, 'involvedObject'), 'namespace');
  const field = 'involvedObject.namespace';
  const elsewhere = [invalidValue(field, involved, 'does not match event.namespace')];
  if (isUnset(event.eventTime)) {
    // What happens to cluster-scoped objects is told in `default`.
    const right = involved === '' ? namespace === 'default' : namespace === involved;
    return right ? [] : elsewhere;
  }
  const errors = involved === '' && !['default', 'kube-system'].includes(namespace) ? elsewhere : [];
  const controller = stringAt(event, 'reportingComponent');
  const reporting = apiVersion === 'events.k8s.io/v1' ? 'reportingController' : 'reportingComponent';
  if (controller === '') errors.push(required(reporting));
  else errors.push(...checkName(reporting, controller, qualifiedName));
  for (const name of ['reportingInstance', 'action', 'reason']) {
    const value = stringAt(event, name);
    if (value === '') errors.push(required(name));
    if (value.length > LONGEST_NAME) {
      errors.push(invalidValue(name, '', `can have at most ${LONGEST_NAME} characters`));
    }
  }
  if (stringAt(event, 'message').length > LONGEST_NOTE) {
    errors.push(invalidValue('message', '', `can have at most ${LONGEST_NOTE} characters`));
  }
  return errors;
}
