// What admission policies need to know of the objects they mutate.
import type { Catalogue } from '../../api/catalogue.ts';
import { cloneJson, type JsonObject } from '../../api/object.ts';
import type { Finish } from '../admission/policies/mutating.ts';
import type { AdmissionRequest } from '../admission/port.ts';
import { decodePatched } from './decoding.ts';
import { applyDefaults, type Served, type ServedResources } from './served.ts';

/** Objects on their way through admission have the shape that is stored, whatever version the request speaks. */
export function mutationsOf(resources: ServedResources, catalogue: Catalogue): Finish {
  const storedTypeOf = ({ target }: AdmissionRequest): Served =>
    resources.of(resources.of(target.info).stored);
  return {
    schema: (request) => storedTypeOf(request).struct,
    decode: (request, object): JsonObject => {
      const served = storedTypeOf(request);
      const { info, apiVersion, struct } = served;
      // The pipeline keeps what it has until the whole mutation stands: custom types decode in place.
      if (served.custom) return served.custom.decode(cloneJson(object), undefined).object;
      const as = { kind: info.kind, apiVersion, struct };
      const decoded = decodePatched(catalogue, as, object, { fieldValidation: 'Ignore' }, request.context);
      applyDefaults(served, decoded);
      return decoded;
    },
  };
}
