import type { KubeObject } from '../../api/object.ts';
import type { ComputedResource } from './computed.ts';

export interface ComponentHealth {
  name: string;
  healthy: boolean;
  message: string;
}

/** `kubectl get componentstatuses`: how the parts of the server are, asked each time. */
export function componentStatuses(components: () => readonly ComponentHealth[]): ComputedResource {
  return {
    get: (_namespace, name) =>
      components()
        .filter((component) => component.name === name)
        .map(statusOf)[0],
    list: () => components().map(statusOf),
  };
}

function statusOf({ name, healthy, message }: ComponentHealth): KubeObject {
  return {
    kind: 'ComponentStatus',
    apiVersion: 'v1',
    metadata: { name },
    conditions: [{ type: 'Healthy', status: healthy ? 'True' : 'False', message }],
  } as unknown as KubeObject;
}
