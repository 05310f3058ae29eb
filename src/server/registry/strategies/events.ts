// Events in the shape of core/v1; events.k8s.io/v1 is converted to it.
import type { FieldError } from '../../../api/errors.ts';
import { invalidValue, numberAt, objectAt, stringAt } from '../../../api/validation.ts';
import { fieldsAt } from '../selection.ts';
import type { Strategy } from '../strategy.ts';
import { ageOf } from './age.ts';
import { nameCell } from './cells.ts';

export const eventStrategy: Strategy = {
  durability: 'volatile',
  allowCreateOnUpdate: true,
  validate: (event): FieldError[] => {
    const namespace = stringAt(objectAt(event, 'metadata'), 'namespace');
    const involved = stringAt(objectAt(event, 'involvedObject'), 'namespace');
    // What happens to cluster-scoped objects is told in `default`.
    if (involved === '' ? namespace === 'default' || namespace === 'kube-system' : namespace === involved) {
      return [];
    }
    return [invalidValue('involvedObject.namespace', involved, 'does not match event.namespace')];
  },
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
      `${stringAt(involved, 'kind').toLowerCase()}/${stringAt(involved, 'name')}`,
      stringAt(involved, 'fieldPath'),
      host === '' ? component : `${component}, ${host}`,
      stringAt(event, 'message').trim(),
      ageOf(first, now),
      String(numberAt(series, 'count') ?? numberAt(event, 'count') ?? 1),
      nameCell(event),
    ];
  },
};
