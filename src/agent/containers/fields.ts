import { milliUnits, parseQuantity, wholeUnits } from '../../api/quantity.ts';
import type { Container, Pod } from '../../api/types/core-v1.ts';
import { containersOf } from '../names.ts';
import { ContainerConfigError } from './config-error.ts';

/** What the node adds to a pod's own fields. */
export interface FieldContext {
  hostIPs: readonly string[];
  podIPs: readonly string[];
  /** Allocatable of the node: what an absent limit stands for. Quantities. */
  allocatable: Readonly<Record<string, string>>;
}

/** The downward API: the value of a pod's field as text. */
export function fieldValue(pod: Pod, path: string, context: FieldContext): string {
  const subscript = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path);
  if (subscript) {
    const map = subscript[1] === 'labels' ? pod.metadata.labels : pod.metadata.annotations;
    return map?.[subscript[2] ?? ''] ?? '';
  }
  switch (path) {
    case 'metadata.name':
      return pod.metadata.name ?? '';
    case 'metadata.namespace':
      return pod.metadata.namespace ?? '';
    case 'metadata.uid':
      return pod.metadata.uid ?? '';
    case 'metadata.labels':
      return formatMap(pod.metadata.labels);
    case 'metadata.annotations':
      return formatMap(pod.metadata.annotations);
    case 'spec.nodeName':
      return pod.spec?.nodeName ?? '';
    case 'spec.serviceAccountName':
      return pod.spec?.serviceAccountName ?? '';
    case 'status.hostIP':
      return context.hostIPs[0] ?? '';
    case 'status.hostIPs':
      return context.hostIPs.join(',');
    case 'status.podIP':
      return context.podIPs[0] ?? '';
    case 'status.podIPs':
      return context.podIPs.join(',');
    default:
      throw new ContainerConfigError(`unsupported fieldPath: ${path}`);
  }
}

/** One `key="value"` a line, sorted, as files of the downward API have it. */
function formatMap(map: Record<string, string> | undefined): string {
  return Object.entries(map ?? {})
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join('\n');
}

/** The downward API: a container's request or limit as a whole number of `divisor`, rounded up. */
export function resourceValue(
  pod: Pod,
  container: Container | undefined,
  selector: { containerName?: string; resource: string; divisor?: string },
  context: FieldContext,
): string {
  const target = selector.containerName
    ? containersOf(pod).find((named) => named.container.name === selector.containerName)?.container
    : container;
  if (!target) throw new ContainerConfigError(`container ${selector.containerName ?? ''} not found`);
  const [kind, ...rest] = selector.resource.split('.');
  const name = rest.join('.');
  const { limits = {}, requests = {} } = target.resources ?? {};
  const text =
    kind === 'limits'
      ? (limits[name] ?? pod.spec?.resources?.limits?.[name] ?? context.allocatable[name])
      : (requests[name] ?? limits[name]);
  if (kind !== 'limits' && kind !== 'requests') {
    throw new ContainerConfigError(`unsupported container resource : ${selector.resource}`);
  }
  const divisor = parseQuantity(selector.divisor || '1');
  if (text === undefined) return '0';
  const quantity = parseQuantity(text);
  if (name === 'cpu') return String(Math.ceil(milliUnits(quantity) / (milliUnits(divisor) || 1000)));
  return String(Math.ceil(wholeUnits(quantity) / (wholeUnits(divisor) || 1)));
}
