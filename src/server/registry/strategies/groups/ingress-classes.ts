// IngressClasses.
import type { FieldError } from '../../../../api/errors.ts';
import { dnsLabel, domainPrefixedPath } from '../../../../api/names.ts';
import type { JsonObject } from '../../../../api/object.ts';
import {
  asObject,
  checkName,
  forbiddenField,
  isUnset,
  notSupported,
  objectAt,
  required,
  setDefault,
  stringAt,
  tooLong,
} from '../../../../api/validation.ts';
import { checkImmutable } from '../../../../api/validation-meta.ts';
import type { Strategy } from '../../strategy.ts';
import { validateResource } from './ingresses.ts';
import { row } from './rows.ts';

const LONGEST_CONTROLLER = 250;
const SCOPES = ['Cluster', 'Namespace'];

export const ingressClassStrategy: Strategy = {
  hasGeneration: true,
  applyDefaults: (object) => {
    const parameters = asObject(objectAt(object, 'spec').parameters);
    if (parameters) setDefault(parameters, 'scope', 'Cluster');
  },
  validate: (object) => {
    const spec = objectAt(object, 'spec');
    const controller = stringAt(spec, 'controller');
    const errors: FieldError[] = [];
    if (controller === '') errors.push(required('spec.controller'));
    else {
      if (Buffer.byteLength(controller) > LONGEST_CONTROLLER) {
        errors.push(tooLong('spec.controller', LONGEST_CONTROLLER));
      }
      errors.push(...checkName('spec.controller', controller, domainPrefixedPath));
    }
    const parameters = asObject(spec.parameters);
    return parameters ? [...errors, ...validateParameters(parameters, 'spec.parameters')] : errors;
  },
  validateUpdate: (object, old) =>
    checkImmutable('spec.controller', objectAt(object, 'spec').controller, objectAt(old, 'spec').controller),
  cells: row((object) => {
    const spec = objectAt(object, 'spec');
    const parameters = asObject(spec.parameters);
    if (!parameters) return [stringAt(spec, 'controller'), '<none>'];
    const { apiGroup } = parameters;
    const kind = `${stringAt(parameters, 'kind')}${apiGroup === undefined ? '' : `.${apiGroup}`}`;
    return [stringAt(spec, 'controller'), `${kind}/${stringAt(parameters, 'name')}`];
  }),
};

function validateParameters(parameters: JsonObject, path: string): FieldError[] {
  const errors = validateResource(parameters, path);
  const { scope, namespace } = parameters;
  const field = `${path}.namespace`;
  if (isUnset(scope)) errors.push(required(`${path}.scope`));
  else if (!SCOPES.includes(scope as string)) errors.push(notSupported(`${path}.scope`, scope, SCOPES));
  else if (scope === 'Cluster') {
    if (namespace !== undefined) errors.push(forbiddenField(field, "`parameters.scope` is set to 'Cluster'"));
  } else if (namespace === undefined) {
    errors.push(required(field, "`parameters.scope` is set to 'Namespace'"));
  } else errors.push(...checkName(field, stringAt(parameters, 'namespace'), dnsLabel));
  return errors;
}
