// Resources that are answered from what the server knows and not from the store: read only, without watch.
import { badRequest } from '../../api/errors.ts';
import type { KubeObject } from '../../api/object.ts';
import {
  type LabelMatcher,
  matchEverything,
  parseLabelSelector,
  SelectorError,
} from '../../api/selectors.ts';
import { missing } from './pipeline.ts';
import type { ReadOptions, Target } from './port.ts';

export interface ComputedResource {
  get(namespace: string | undefined, name: string): KubeObject | undefined;
  /** All namespaces when undefined. */
  list(namespace: string | undefined): KubeObject[];
}

export function computedObject(resource: ComputedResource, target: Target): KubeObject {
  const object = resource.get(target.namespace, target.name ?? '');
  if (!object) throw missing(target);
  return object;
}

export function computedList(
  resource: ComputedResource,
  target: Target,
  { labelSelector, fieldSelector }: ReadOptions,
): KubeObject[] {
  const labels = matcher(labelSelector);
  const name = fieldName(fieldSelector);
  return resource
    .list(target.namespace)
    .filter(({ metadata }) => labels(metadata.labels) && (name === undefined || metadata.name === name));
}

function matcher(text: string | undefined): LabelMatcher {
  if (!text) return matchEverything;
  try {
    return parseLabelSelector(text);
  } catch (error) {
    if (error instanceof SelectorError) throw badRequest(`unable to parse requirement: ${error.message}`);
    throw error;
  }
}

function fieldName(text: string | undefined): string | undefined {
  if (!text) return undefined;
  const [, name] = /^metadata\.name==?(.+)$/.exec(text) ?? [];
  if (name === undefined) throw badRequest(`field label not supported: ${text.split(/[=!]/)[0]}`);
  return name;
}
