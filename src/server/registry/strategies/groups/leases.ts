// Leases. Whoever holds one renews it: PUT creates, and losing the last renewal in a crash costs nothing.
import type { FieldError } from '../../../../api/errors.ts';
import { qualifiedName } from '../../../../api/names.ts';
import {
  checkName,
  checkNonNegative,
  checkPositive,
  forbiddenField,
  isUnset,
  objectAt,
  stringAt,
} from '../../../../api/validation.ts';
import type { Strategy } from '../../strategy.ts';
import { row } from './rows.ts';

export const leaseStrategy: Strategy = {
  durability: 'coalesced',
  allowCreateOnUpdate: true,
  requireResourceVersionOnUpdate: true,
  validate: (lease) => {
    const spec = objectAt(lease, 'spec');
    const strategy = stringAt(spec, 'strategy');
    const errors: FieldError[] = [
      ...checkPositive('spec.leaseDurationSeconds', spec.leaseDurationSeconds),
      ...checkNonNegative('spec.leaseTransitions', spec.leaseTransitions),
    ];
    // Strategies of third parties are named like labels; Kubernetes' own is OldestEmulationVersion.
    if (strategy !== '') errors.push(...checkName('spec.strategy', strategy, qualifiedName));
    if (strategy === '' && !isUnset(spec.preferredHolder)) {
      errors.push(forbiddenField('spec.preferredHolder', 'may only be specified if `strategy` is defined'));
    }
    return errors;
  },
  cells: row((lease) => [stringAt(objectAt(lease, 'spec'), 'holderIdentity')]),
};
