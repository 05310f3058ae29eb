// RuntimeClasses.
import type { FieldError } from '../../../../api/errors.ts';
import { dnsLabel } from '../../../../api/names.ts';
import { asObject, checkName, listAt, objectAt, stringAt } from '../../../../api/validation.ts';
import { checkImmutable, validateLabels } from '../../../../api/validation-meta.ts';
import type { Strategy } from '../../strategy.ts';
import { validateTolerations } from '../affinity.ts';
import { RENAMED_LABELS } from '../pod-warnings.ts';
import { validateContainerResources } from '../resources.ts';
import { row } from './rows.ts';

export const runtimeClassStrategy: Strategy = {
  requireResourceVersionOnUpdate: true,
  validate: (object) => {
    const errors: FieldError[] = checkName('handler', stringAt(object, 'handler'), dnsLabel);
    const overhead = asObject(object.overhead);
    if (overhead) {
      errors.push(
        ...validateContainerResources({ limits: objectAt(overhead, 'podFixed') }, 'overhead.podFixed'),
      );
    }
    const scheduling = asObject(object.scheduling);
    if (scheduling) {
      errors.push(...validateLabels(objectAt(scheduling, 'nodeSelector'), 'scheduling.nodeSelector'));
      errors.push(...validateTolerations(listAt(scheduling, 'tolerations'), 'scheduling.tolerations'));
    }
    return errors;
  },
  validateUpdate: (object, old) => checkImmutable('handler', object.handler, old.handler),
  warnings: (object) =>
    Object.keys(objectAt(objectAt(object, 'scheduling'), 'nodeSelector')).flatMap((key) => {
      const renamed = RENAMED_LABELS[key];
      return renamed === undefined ? [] : [`scheduling.nodeSelector: ${renamed}`];
    }),
  cells: row((object) => [stringAt(object, 'handler')]),
};
