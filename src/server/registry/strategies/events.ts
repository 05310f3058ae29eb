// Events in the shape of core/v1; events.k8s.io/v1 is converted to it.
import type { FieldError } from '../../../api/errors.ts';
import { qualifiedName } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import {
  checkName,
  invalidValue,
  isUnset,
  numberAt,
  objectAt,
  required,
  stringAt,
} from '../../../api/validation.ts';
import { fieldsAt } from '../selection.ts';
import type { Strategy } from '../strategy.ts';
import { ageOf } from './age.ts';
import { nameCell } from './cells.ts';

export const eventStrategy: Strategy = {
  durability: 'volatile',
  allowCreateOnUpdate: true,
  validate: validateEvent,
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

/** Events with a time of their own are those of events.k8s.io, and have to be complete. */
function validateEvent(event: JsonObject): FieldError[] {
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
  if (controller === '') errors.push(required('reportingComponent'));
  else errors.push(...checkName('reportingComponent', controller, qualifiedName));
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
