import type { FieldError } from '../../../api/errors.ts';
import type { JsonObject } from '../../../api/object.ts';
import { jsonEqual } from '../../../api/patch-json.ts';
import {
  asObject,
  checkChoice,
  checkIntOrPercent,
  checkNonNegative,
  checkNotMoreThanHundred,
  ensureObject,
  forbiddenField,
  invalidValue,
  isUnset,
  listAt,
  numberAt,
  objectAt,
  required,
  setDefault,
  stringAt,
} from '../../../api/validation.ts';
import type { Strategy } from '../strategy.ts';
import { ageOf } from './age.ts';
import { defaultTemplate } from './pod-spec.ts';
import { fractionalBytes, workloadWarnings } from './pod-warnings.ts';
import {
  amount,
  containerCells,
  emptyStatus,
  nonNegative,
  shownStrategy,
  validateCollisions,
  validateCounts,
  validateParts,
  validateWorkloadSelector,
  validateWorkloadTemplate,
} from './workloads.ts';

const CHANGEABLE = [
  'replicas',
  'ordinals',
  'template',
  'updateStrategy',
  'revisionHistoryLimit',
  'persistentVolumeClaimRetentionPolicy',
  'minReadySeconds',
];

const NEGATIVE_HISTORY =
  'spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended';

export const statefulSetStrategy: Strategy = {
  // Its pods are named after it, and their hosts after them.
  nameRule: 'dns-label',
  hasGeneration: true,
  applyDefaults: (object) => {
    const spec = ensureObject(object, 'spec');
    if (isUnset(spec.podManagementPolicy)) spec.podManagementPolicy = 'OrderedReady';
    const strategy = ensureObject(spec, 'updateStrategy');
    if (stringAt(strategy, 'type') === '') {
      strategy.type = 'RollingUpdate';
      setDefault(strategy, 'rollingUpdate', { partition: 0 });
    }
    const update = asObject(strategy.rollingUpdate);
    if (strategy.type === 'RollingUpdate' && update) setDefault(update, 'partition', 0);
    const retention = ensureObject(spec, 'persistentVolumeClaimRetentionPolicy');
    setDefault(retention, 'whenDeleted', 'Retain');
    setDefault(retention, 'whenScaled', 'Retain');
    setDefault(spec, 'replicas', 1);
    setDefault(spec, 'revisionHistoryLimit', 10);
    setDefault(spec, 'serviceName', '');
    defaultTemplate(ensureObject(spec, 'template'));
    for (const claim of listAt(spec, 'volumeClaimTemplates')) {
      setDefault(claim, 'apiVersion', 'v1');
      setDefault(claim, 'kind', 'PersistentVolumeClaim');
      setDefault(ensureObject(claim, 'spec'), 'volumeMode', 'Filesystem');
      setDefault(ensureObject(claim, 'status'), 'phase', 'Pending');
    }
  },
  prepareForCreate: (object) => emptyStatus(object, { replicas: 0, availableReplicas: 0 }),
  validate: validateStatefulSet,
  validateUpdate: (object, old) => {
    const rest = (spec: JsonObject): JsonObject => {
      const copy = { ...spec };
      for (const field of CHANGEABLE) delete copy[field];
      return copy;
    };
    return jsonEqual(rest(objectAt(object, 'spec')), rest(objectAt(old, 'spec')))
      ? []
      : [
          forbiddenField(
            'spec',
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
          ),
        ];
  },
  validateStatusUpdate: (object, old) => [
    ...validateCounts(object, [
      'replicas',
      'readyReplicas',
      'currentReplicas',
      'updatedReplicas',
      'availableReplicas',
      'observedGeneration',
    ]),
    ...validateParts(
      object,
      ['readyReplicas', 'currentReplicas', 'updatedReplicas', 'availableReplicas'],
      'status.readyReplicas',
    ),
    ...validateCollisions(object, old),
  ],
  warnings: (object, old) => [
    ...workloadWarnings(object, old, 'spec.template', false),
    ...listAt(objectAt(object, 'spec'), 'volumeClaimTemplates').flatMap((claim, index) => {
      const { storage } = objectAt(objectAt(objectAt(claim, 'spec'), 'resources'), 'requests');
      const field = `spec.volumeClaimTemplates[${index}].Spec.resources.requests[storage]`;
      return fractionalBytes(storage, field);
    }),
    ...((numberAt(objectAt(object, 'spec'), 'revisionHistoryLimit') ?? 0) < 0 ? [NEGATIVE_HISTORY] : []),
  ],
  cells: (object, now) => {
    const metadata = objectAt(object, 'metadata');
    const spec = objectAt(object, 'spec');
    return [
      stringAt(metadata, 'name'),
      `${numberAt(objectAt(object, 'status'), 'readyReplicas') ?? 0}/${numberAt(spec, 'replicas') ?? 0}`,
      ageOf(metadata.creationTimestamp, now),
      ...containerCells(objectAt(spec, 'template')),
    ];
  },
};

function validateStatefulSet(object: JsonObject): FieldError[] {
  const spec = objectAt(object, 'spec');
  const errors: FieldError[] = [];
  const policy = stringAt(spec, 'podManagementPolicy');
  if (policy !== 'OrderedReady' && policy !== 'Parallel') {
    errors.push(invalidValue('spec.podManagementPolicy', policy, "must be 'OrderedReady' or 'Parallel'"));
  }
  errors.push(...validateUpdateStrategy(objectAt(spec, 'updateStrategy')));
  const retention = objectAt(spec, 'persistentVolumeClaimRetentionPolicy');
  for (const field of ['whenDeleted', 'whenScaled']) {
    errors.push(
      ...checkChoice(`spec.persistentVolumeClaimRetentionPolicy.${field}`, retention[field], [
        'Retain',
        'Delete',
      ]),
    );
  }
  errors.push(
    ...nonNegative(spec, 'replicas', 'minReadySeconds'),
    ...checkNonNegative('spec.ordinals.start', objectAt(spec, 'ordinals').start),
    ...validateWorkloadSelector(spec, 'statefulset'),
    ...validateWorkloadTemplate(withClaims(spec), { kind: 'StatefulSet' }),
  );
  return errors;
}

function validateUpdateStrategy(strategy: JsonObject): FieldError[] {
  const path = 'spec.updateStrategy';
  const update = asObject(strategy.rollingUpdate);
  switch (strategy.type) {
    case undefined:
    case '':
      return [required(path)];
    case 'OnDelete':
      return update
        ? [
            invalidValue(
              `${path}.rollingUpdate`,
              shownUpdate(update),
              `only allowed for updateStrategy 'RollingUpdate'`,
            ),
          ]
        : [];
    case 'RollingUpdate': {
      if (!update) return [];
      const { partition, maxUnavailable } = update;
      const errors = checkNonNegative(`${path}.rollingUpdate.partition`, partition);
      if (maxUnavailable !== undefined) {
        errors.push(...checkIntOrPercent(`${path}.rollingUpdate.maxUnavailable`, maxUnavailable));
        if (amount(maxUnavailable) === 0) {
          errors.push(invalidValue(`${path}.rollingUpdate.maxUnavailable`, maxUnavailable, 'cannot be 0'));
        }
        errors.push(...checkNotMoreThanHundred(`${path}.rollingUpdate.maxUnavailable`, maxUnavailable));
      }
      return errors;
    }
    default:
      return [invalidValue(path, shownStrategy(strategy), "must be 'RollingUpdate' or 'OnDelete'")];
  }
}

const shownUpdate = ({ partition, maxUnavailable }: JsonObject): JsonObject => ({
  Partition: partition ?? 0,
  MaxUnavailable: maxUnavailable ?? null,
});

/** Its pods get a volume for each claim template, in place of one of that name: containers may mount it. */
function withClaims(spec: JsonObject): JsonObject {
  const claims = listAt(spec, 'volumeClaimTemplates').map((claim) =>
    stringAt(objectAt(claim, 'metadata'), 'name'),
  );
  if (claims.length === 0) return spec;
  const template = objectAt(spec, 'template');
  const podSpec = objectAt(template, 'spec');
  const volumes = [
    ...listAt(podSpec, 'volumes').filter(({ name }) => !claims.includes(String(name))),
    ...claims.map((name) => ({ name, persistentVolumeClaim: { claimName: name } })),
  ];
  return { ...spec, template: { ...template, spec: { ...podSpec, volumes } } };
}
