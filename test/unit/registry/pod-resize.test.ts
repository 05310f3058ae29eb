import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../../src/api/object.ts';
import {
  defaultPodLevelRequests,
  validatePodLevelResources,
} from '../../../src/server/registry/strategies/pod-level-resources.ts';
import { qosClass } from '../../../src/server/registry/strategies/pod-qos.ts';
import { takeResize, validateResize } from '../../../src/server/registry/strategies/pod-resize.ts';
import { podStrategy } from '../../../src/server/registry/strategies/pods.ts';

const copy = <T>(value: T): T => structuredClone(value);

function pod(containers: JsonObject[], spec: JsonObject = {}): JsonObject {
  const made: JsonObject = {
    metadata: { name: 'a', namespace: 'default' },
    spec: {
      containers: containers.map((container, index) => ({ name: `c${index}`, image: 'i', ...container })),
      ...spec,
    },
  };
  podStrategy.applyDefaults?.(made);
  made.status = { qosClass: qosClass(made.spec as JsonObject) };
  return made;
}

/** The errors of a resize of `old` by what `change` does to a copy of it; and the pod as it would be stored. */
function resize(
  old: JsonObject,
  change: (submitted: JsonObject) => void,
): { errors: string[]; next: JsonObject } {
  const submitted = copy(old);
  change(submitted);
  const next: JsonObject = { ...old };
  takeResize(next, submitted);
  return { next, errors: validateResize(next, old).map(({ field, message }) => `${field}: ${message}`) };
}

const containersOf = (of: JsonObject, field = 'containers'): JsonObject[] =>
  (of.spec as JsonObject)[field] as JsonObject[];
const set =
  (resources: JsonObject, index = 0, field = 'containers') =>
  (submitted: JsonObject) => {
    (containersOf(submitted, field)[index] as JsonObject).resources = resources;
  };
const sized = { resources: { requests: { cpu: '100m', memory: '1Gi' }, limits: { cpu: '1' } } };

describe('a resize', () => {
  it('takes resources and resize policies, and nothing else of what was submitted', () => {
    const { next, errors } = resize(pod([sized]), (submitted) => {
      Object.assign(containersOf(submitted)[0] as JsonObject, {
        image: 'other',
        resources: { requests: { cpu: '200m', memory: '2Gi' }, limits: { cpu: '2' } },
        resizePolicy: [{ resourceName: 'cpu', restartPolicy: 'RestartContainer' }],
      });
      (submitted.spec as JsonObject).nodeName = 'elsewhere';
    });
    expect(errors).toEqual([]);
    expect(containersOf(next)[0]).toMatchObject({
      image: 'i',
      resources: { requests: { cpu: '200m' } },
      resizePolicy: [{ resourceName: 'cpu', restartPolicy: 'RestartContainer' }],
    });
    expect(next.spec).not.toHaveProperty('nodeName');
  });

  it('keeps the QoS class', () => {
    const guaranteed = {
      resources: { limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '1', memory: '1Gi' } },
    };
    const { errors } = resize(
      pod([guaranteed]),
      set({ ...guaranteed.resources, requests: { cpu: '500m', memory: '1Gi' } }),
    );
    expect(errors).toEqual([
      'spec: Invalid value: "Guaranteed": Pod QOS Class may not change as a result of resizing',
    ]);
  });

  it('takes nothing away', () => {
    const { errors } = resize(pod([sized]), set({ requests: { cpu: '100m' }, limits: { memory: '2Gi' } }));
    expect(errors).toEqual([
      'spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed',
      'spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed',
    ]);
  });

  it('changes CPU and memory only', () => {
    const storage = (size: string) => ({ requests: { cpu: '100m', 'ephemeral-storage': size } });
    expect(resize(pod([{ resources: storage('1Gi') }]), set(storage('2Gi'))).errors).toEqual([
      'spec: Forbidden: only cpu and memory resources are mutable',
    ]);
  });

  it('works on sidecars, not on init containers that end', () => {
    const init = (restartPolicy?: string) =>
      pod([sized], {
        initContainers: [{ name: 'i', image: 'i', ...sized, ...(restartPolicy ? { restartPolicy } : {}) }],
      });
    const more = { requests: { cpu: '200m', memory: '1Gi' }, limits: { cpu: '1' } };
    expect(resize(init('Always'), set(more, 0, 'initContainers')).errors).toEqual([]);
    expect(resize(init(), set(more, 0, 'initContainers')).errors).toEqual([
      'spec: Forbidden: resources for non-sidecar init containers are immutable',
    ]);
  });

  it('adds and removes no container, and leaves static pods alone', () => {
    const added = resize(pod([sized]), (submitted) => {
      containersOf(submitted).push({ ...copy(containersOf(submitted)[0] as JsonObject), name: 'new' });
    });
    expect(added.errors).toEqual([
      'spec.containers: Forbidden: pod updates may not add or remove containers',
    ]);
    const mirror = pod([sized]);
    (mirror.metadata as JsonObject).annotations = { 'kubernetes.io/config.mirror': 'x' };
    expect(resize(mirror, set(sized.resources)).errors).toEqual([
      ': Forbidden: static pods cannot be resized',
    ]);
  });

  it('may concern the pod as a whole', () => {
    const whole = (cpu: string) => ({ resources: { requests: { cpu }, limits: { cpu: '2' } } });
    const { errors, next } = resize(pod([{}], whole('1')), (submitted) => {
      Object.assign(submitted.spec as JsonObject, whole('1500m'));
    });
    expect(errors).toEqual([]);
    expect((next.spec as JsonObject).resources).toMatchObject({ requests: { cpu: '1500m' } });
  });
});

describe('resources of the pod as a whole', () => {
  it('decide on its QoS class alone', () => {
    const exact = { requests: { cpu: '1', memory: '1Gi' }, limits: { cpu: '1', memory: '1Gi' } };
    expect(qosClass({ containers: [{}], resources: exact })).toBe('Guaranteed');
    expect(qosClass({ containers: [{ resources: exact }], resources: { requests: { cpu: '2' } } })).toBe(
      'Burstable',
    );
    expect(qosClass({ containers: [{ resources: exact }], resources: {} })).toBe('Guaranteed');
  });

  it('request what the containers request, or else what they are limited to', () => {
    const spec: JsonObject = {
      containers: [
        { resources: { requests: { cpu: '100m' } } },
        { resources: { requests: { cpu: '200m' } } },
      ],
      resources: { limits: { cpu: '1', memory: '1Gi' } },
    };
    defaultPodLevelRequests(spec);
    expect(spec.resources).toMatchObject({ requests: { cpu: '300m', memory: '1Gi' } });
  });

  it('are checked against the containers’', () => {
    const spec = {
      containers: [{ resources: { requests: { cpu: '2' }, limits: { memory: '2Gi' } } }],
      resources: { requests: { cpu: '1' }, limits: { memory: '1Gi', 'example.com/x': '1' } },
    };
    const errors = (of: JsonObject) =>
      validatePodLevelResources(of, 'spec.resources').map(({ field, message }) => `${field}: ${message}`);
    expect(errors(spec)).toEqual([
      'spec.resources.limits[example.com/x]: Unsupported value: "example.com/x": supported values: "cpu", "hugepages-", "memory"',
    ]);
    const { 'example.com/x': _gone, ...limits } = spec.resources.limits;
    expect(errors({ ...spec, resources: { ...spec.resources, limits } })).toEqual([
      'spec.resources.requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate container requests of 2',
      'spec.resources.containers[0].limits[memory]: Invalid value: "2Gi": must be less than or equal to pod limits of 1Gi',
    ]);
  });
});
