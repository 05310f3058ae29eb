// CSIDrivers, CSINodes and VolumeAttachments.
import type { FieldError } from '../../../../api/errors.ts';
import { dnsSubdomain, qualifiedName } from '../../../../api/names.ts';
import type { JsonObject } from '../../../../api/object.ts';
import { jsonEqual } from '../../../../api/patch-json.ts';
import {
  asObject,
  checkChoice,
  checkName,
  checkNonNegative,
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
  stringsAt,
  tooLong,
} from '../../../../api/validation.ts';
import { checkImmutable } from '../../../../api/validation-meta.ts';
import type { Strategy } from '../../strategy.ts';
import { row } from './rows.ts';

const LONGEST_DRIVER_NAME = 63;
const LONGEST_NODE_ID = 256;
const LONGEST_MESSAGE = 1024;
const MOST_METADATA_BYTES = 256 * 1024;
const FS_GROUP_POLICIES = ['File', 'None', 'ReadWriteOnceWithFSType'];
const LIFECYCLE_MODES = ['Persistent', 'Ephemeral'];
const SHORTEST_TOKEN_SECONDS = 600;
const LONGEST_TOKEN_SECONDS = 2 ** 32;
const SHORTEST_UPDATE_SECONDS = 10;
const DRIVER_DEFAULTS: readonly [string, boolean | string][] = [
  ['attachRequired', true],
  ['podInfoOnMount', false],
  ['storageCapacity', false],
  ['fsGroupPolicy', 'ReadWriteOnceWithFSType'],
  ['requiresRepublish', false],
  ['seLinuxMount', false],
];
/** A change of these counts as a new generation. */
const DRIVER_CHANGES = [
  'tokenRequests',
  'requiresRepublish',
  'seLinuxMount',
  'nodeAllocatableUpdatePeriodSeconds',
];

function validateDriverName(name: string, field: string): FieldError[] {
  if (name === '') return [required(field)];
  const errors = name.length > LONGEST_DRIVER_NAME ? [tooLong(field, LONGEST_DRIVER_NAME)] : [];
  return [...errors, ...dnsSubdomain(name.toLowerCase()).map((why) => invalidValue(field, name, why))];
}

export const csiDriverStrategy: Strategy = {
  returnsDeleted: true,
  requireResourceVersionOnUpdate: true,
  applyDefaults: (object) => {
    const spec = ensureObject(object, 'spec');
    for (const [field, value] of DRIVER_DEFAULTS) setDefault(spec, field, value);
    if (stringsAt(spec, 'volumeLifecycleModes').length === 0) spec.volumeLifecycleModes = ['Persistent'];
  },
  prepareForUpdate: (object, old) => {
    const spec = objectAt(object, 'spec');
    const before = objectAt(old, 'spec');
    if (DRIVER_CHANGES.every((field) => jsonEqual(spec[field], before[field]))) return;
    const generation = numberAt(objectAt(old, 'metadata'), 'generation') ?? 0;
    objectAt(object, 'metadata').generation = generation + 1;
  },
  validate: (object) => {
    const spec = objectAt(object, 'spec');
    const errors = checkChoice('spec.fsGroupPolicy', spec.fsGroupPolicy, FS_GROUP_POLICIES);
    errors.push(...validateTokenRequests(listAt(spec, 'tokenRequests'), 'spec.tokenRequests'));
    for (const mode of stringsAt(spec, 'volumeLifecycleModes')) {
      if (!LIFECYCLE_MODES.includes(mode)) {
        errors.push(notSupported('spec.volumeLifecycleModes', mode, LIFECYCLE_MODES));
      }
    }
    const seconds = numberAt(spec, 'nodeAllocatableUpdatePeriodSeconds');
    if (seconds !== undefined && seconds < SHORTEST_UPDATE_SECONDS) {
      const why = `must be greater than or equal to ${SHORTEST_UPDATE_SECONDS} seconds`;
      errors.push(invalidValue('spec.nodeAllocatableUpdatePeriodSeconds', seconds, why));
    }
    return errors;
  },
  validateUpdate: (object, old) => {
    const spec = objectAt(object, 'spec');
    const before = objectAt(old, 'spec');
    return [
      // The path is misspelt in Kubernetes.
      ...checkImmutable('spec.attachedRequired', spec.attachRequired, before.attachRequired),
      ...checkImmutable(
        'spec.volumeLifecycleModes',
        spec.volumeLifecycleModes,
        before.volumeLifecycleModes,
        null,
      ),
    ];
  },
  cells: row((object) => {
    const spec = objectAt(object, 'spec');
    const audiences = listAt(spec, 'tokenRequests').map((request) => stringAt(request, 'audience'));
    return [
      spec.attachRequired !== false,
      spec.podInfoOnMount === true,
      spec.storageCapacity === true,
      spec.tokenRequests === undefined ? '<unset>' : audiences.join(','),
      spec.requiresRepublish === true,
      stringsAt(spec, 'volumeLifecycleModes').join(',') || '<none>',
    ];
  }),
};

function validateTokenRequests(requests: JsonObject[], field: string): FieldError[] {
  const seen = new Set<string>();
  return requests.flatMap((request, index) => {
    const audience = stringAt(request, 'audience');
    if (seen.has(audience)) return [duplicate(`${field}[${index}].audience`, audience)];
    seen.add(audience);
    const seconds = numberAt(request, 'expirationSeconds');
    const wrong = (why: string): FieldError[] => [
      invalidValue(`${field}[${index}].expirationSeconds`, seconds, why),
    ];
    if (seconds === undefined) return [];
    if (seconds < SHORTEST_TOKEN_SECONDS) return wrong('may not specify a duration less than 10 minutes');
    return seconds > LONGEST_TOKEN_SECONDS
      ? wrong('may not specify a duration larger than 2^32 seconds')
      : [];
  });
}

export const csiNodeStrategy: Strategy = {
  returnsDeleted: true,
  requireResourceVersionOnUpdate: true,
  validate: (object) => {
    const names = new Set<string>();
    return listAt(objectAt(object, 'spec'), 'drivers').flatMap((driver, index) => {
      const path = `spec.drivers[${index}]`;
      const name = stringAt(driver, 'name');
      const errors = [
        ...validateDriverName(name, `${path}.name`),
        ...validateNodeId(stringAt(driver, 'nodeID'), `${path}.nodeID`),
        ...checkNonNegative(`${path}.allocatable.count`, objectAt(driver, 'allocatable').count),
      ];
      if (names.has(name)) errors.push(duplicate(`${path}.name`, name));
      names.add(name);
      return [...errors, ...validateTopologyKeys(stringsAt(driver, 'topologyKeys'), path)];
    });
  },
  validateUpdate: (object, old) => {
    const before = listAt(objectAt(old, 'spec'), 'drivers');
    return listAt(objectAt(object, 'spec'), 'drivers').flatMap((driver) => {
      const known = before.find(({ name }) => name === driver.name);
      if (!known) return [];
      // How many volumes fit may change; who serves them may not.
      const identity = ({ allocatable: _allocatable, ...rest }: JsonObject): JsonObject => rest;
      return jsonEqual(identity(driver), identity(known))
        ? []
        : [invalidValue('CSINodeDriver', printedDriver(driver), 'field is immutable')];
    });
  },
  cells: row((object) => [listAt(objectAt(object, 'spec'), 'drivers').length]),
};

function validateNodeId(id: string, field: string): FieldError[] {
  if (id === '') return [required(field)];
  return id.length > LONGEST_NODE_ID
    ? [invalidValue(field, id, `must be ${LONGEST_NODE_ID} characters or less`)]
    : [];
}

function validateTopologyKeys(keys: string[], path: string): FieldError[] {
  const seen = new Set<string>();
  return keys.flatMap((key) => {
    const errors: FieldError[] = key === '' ? [required(path)] : [];
    if (seen.has(key)) errors.push(duplicate(path, key));
    seen.add(key);
    return [...errors, ...checkName(path, key, qualifiedName)];
  });
}

/** As Kubernetes prints its internal type. */
function printedDriver(driver: JsonObject): JsonObject {
  const count = objectAt(driver, 'allocatable').count ?? null;
  return {
    Name: stringAt(driver, 'name'),
    NodeID: stringAt(driver, 'nodeID'),
    TopologyKeys: driver.topologyKeys ?? null,
    Allocatable: driver.allocatable === undefined ? null : { Count: count },
  };
}

export const volumeAttachmentStrategy: Strategy = {
  returnsDeleted: true,
  requireResourceVersionOnUpdate: true,
  statusKeepsMetadata: true,
  prepareForCreate: (object) => {
    object.status = { attached: false };
  },
  validate: (object) => [
    ...validateAttachment(objectAt(object, 'spec')),
    ...validateAttachmentStatus(object),
  ],
  validateUpdate: (object, old) => checkImmutable('spec', object.spec, old.spec),
  validateStatusUpdate: validateAttachmentStatus,
  cells: row((object) => {
    const spec = objectAt(object, 'spec');
    return [
      stringAt(spec, 'attacher'),
      stringAt(objectAt(spec, 'source'), 'persistentVolumeName'),
      stringAt(spec, 'nodeName'),
      objectAt(object, 'status').attached === true,
    ];
  }),
};

function validateAttachment(spec: JsonObject): FieldError[] {
  const source = objectAt(spec, 'source');
  const name = source.persistentVolumeName;
  const inline = asObject(source.inlineVolumeSpec);
  const one = 'must specify exactly one of inlineVolumeSpec and persistentVolumeName';
  const errors = validateDriverName(stringAt(spec, 'attacher'), 'spec.attacher');
  const field = 'spec.source.persistentVolumeName';
  if (name === undefined && !inline) errors.push(required('spec.source', one));
  else if (name !== undefined && inline) errors.push(forbiddenField('spec.source', one));
  else if (name === '') errors.push(required(field, 'must specify non empty persistentVolumeName'));
  else if (typeof name === 'string') errors.push(...checkName(field, name, dnsSubdomain));
  else if (!asObject(inline?.csi)) {
    errors.push(required('spec.source.inlineVolumeSpec', 'must specify a volume type'));
  }
  return [...errors, ...checkName('spec.nodeName', stringAt(spec, 'nodeName'), dnsSubdomain)];
}

function validateAttachmentStatus(object: JsonObject): FieldError[] {
  const status = objectAt(object, 'status');
  const errors: FieldError[] = [];
  const metadata = Object.entries(objectAt(status, 'attachmentMetadata'));
  const bytes = metadata.reduce(
    (sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(String(value)),
    0,
  );
  if (bytes > MOST_METADATA_BYTES) {
    errors.push(tooLong('status.attachmentMetadata', MOST_METADATA_BYTES));
  }
  for (const field of ['attachError', 'detachError']) {
    const problem = objectAt(status, field);
    if (stringAt(problem, 'message').length > LONGEST_MESSAGE) {
      errors.push(tooLong(`status.${field}.message`, LONGEST_MESSAGE));
    }
    const code = numberAt(problem, 'errorCode');
    if (code !== undefined && code < 0) {
      const why = 'must be between 0 and 2147483647, inclusive';
      errors.push(invalidValue(`status.${field}.errorCode`, code, why));
    }
  }
  return errors;
}
