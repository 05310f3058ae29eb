// PodTolerationRestriction, where it is enabled: a namespace gives its pods tolerations, and says which they may have.
import { internalError } from '../../api/errors.ts';
import type { JsonObject } from '../../api/object.ts';
import { jsonEqual } from '../../api/patch-json.ts';
import { ensureObject, listAt, numberAt, objectAt, stringAt } from '../../api/validation.ts';
import type { Store } from '../store/port.ts';
import type { AdmissionPlugin, AdmissionRequest } from './port.ts';
import { refuse } from './refusal.ts';

const DEFAULTS = 'scheduler.alpha.kubernetes.io/defaultTolerations';
const ALLOWED = 'scheduler.alpha.kubernetes.io/tolerationsWhitelist';
const MEMORY_PRESSURE = {
  key: 'node.kubernetes.io/memory-pressure',
  operator: 'Exists',
  effect: 'NoSchedule',
};

export function tolerationRestriction(store: Pick<Store, 'head'>): AdmissionPlugin {
  return {
    name: 'PodTolerationRestriction',
    admit: (request) => {
      if (!concerns(request) || !request.object) return;
      const spec = ensureObject(request.object, 'spec');
      const own = listAt(spec, 'tolerations');
      const given = request.operation === 'CREATE' ? annotated(store, request, DEFAULTS) : [];
      let merged = mergeTolerations(given, own);
      // A pod that asks for something is let run where memory is short, as ever.
      if (request.operation === 'CREATE' && asksForSomething(spec)) {
        merged = mergeTolerations(merged, [MEMORY_PRESSURE]);
      }
      if (merged.length > 0) spec.tolerations = merged;
    },
    validate: (request) => {
      if (!concerns(request)) return;
      const tolerations = listAt(objectAt(request.object, 'spec'), 'tolerations');
      const allowed = annotated(store, request, ALLOWED);
      if (allowed.length === 0 || isWithin(tolerations, allowed)) return;
      throw refuse(
        request,
        'pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist',
      );
    },
  };
}

function concerns({ bucket, operation, target }: AdmissionRequest): boolean {
  if (bucket !== 'pods' || target.subresource !== undefined) return false;
  return operation === 'CREATE' || operation === 'UPDATE';
}

function annotated(store: Pick<Store, 'head'>, { target }: AdmissionRequest, name: string): JsonObject[] {
  const namespace = store.head('namespaces', target.namespace ?? '')?.object;
  const text = namespace?.metadata.annotations?.[name];
  if (text === undefined || text === '') return [];
  try {
    const list: unknown = JSON.parse(text);
    if (Array.isArray(list)) return list.filter((one) => typeof one === 'object' && one !== null);
  } catch {
    // Told below: the annotation is the administrator's mistake, and to ignore it would let pods through.
  }
  throw internalError(`the annotation ${name} of namespace ${target.namespace} is no list of tolerations`);
}

function asksForSomething(spec: JsonObject): boolean {
  return [...listAt(spec, 'containers'), ...listAt(spec, 'initContainers')].some((container) => {
    const resources = objectAt(container, 'resources');
    return ['requests', 'limits'].some((kind) =>
      ['cpu', 'memory'].some((name) => objectAt(resources, kind)[name] !== undefined),
    );
  });
}

/** Both lists without those that another one covers. */
export function mergeTolerations(first: readonly JsonObject[], second: readonly JsonObject[]): JsonObject[] {
  const all = [...first, ...second];
  return all.filter((one, index) =>
    all.every((other, at) => {
      if (at === index || !covers(other, one)) return true;
      // Of two that are alike the first stays.
      return jsonEqual(other, one) ? at > index : false;
    }),
  );
}

export function isWithin(tolerations: readonly JsonObject[], allowed: readonly JsonObject[]): boolean {
  return tolerations.every((one) => allowed.some((other) => covers(other, one)));
}

/** Does `wide` tolerate everything that `narrow` does? */
function covers(wide: JsonObject, narrow: JsonObject): boolean {
  if (jsonEqual(wide, narrow)) return true;
  const key = stringAt(wide, 'key');
  if (key !== '' && key !== stringAt(narrow, 'key')) return false;
  const effect = stringAt(wide, 'effect');
  if (effect !== '' && effect !== stringAt(narrow, 'effect')) return false;
  if (effect === 'NoExecute') {
    const seconds = numberAt(wide, 'tolerationSeconds');
    const wanted = numberAt(narrow, 'tolerationSeconds');
    if (seconds !== undefined && (wanted === undefined || seconds < wanted)) return false;
  }
  if ((stringAt(wide, 'operator') || 'Equal') === 'Exists') return true;
  return (
    (stringAt(narrow, 'operator') || 'Equal') === 'Equal' &&
    stringAt(wide, 'value') === stringAt(narrow, 'value') &&
    key !== ''
  );
}
