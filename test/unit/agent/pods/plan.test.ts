import { describe, expect, it } from 'vitest';
import { containerHash, LABEL } from '../../../../src/agent/names.ts';
import { newFacts, type PodFacts } from '../../../../src/agent/pods/facts.ts';
import { observePod } from '../../../../src/agent/pods/observe.ts';
import { type PlanInput, plan } from '../../../../src/agent/pods/plan.ts';
import { keyOf, type Step } from '../../../../src/agent/pods/steps.ts';
import type { ObservedContainer } from '../../../../src/agent/runtime.ts';
import type { Pod } from '../../../../src/api/types/core-v1.ts';
import { testPod } from '../../../support/fake-node.ts';

const web = { name: 'web', image: 'web:1', imagePullPolicy: 'IfNotPresent' as const };

/** `POD/0 running`, `web/1 exited 3`: one line for each container of the engine. */
function observed(...lines: string[]): ObservedContainer[] {
  return lines.map((line) => {
    const [, name = '', attempt = '0', state = '', code] = /^(\w+)\/(\d+) (\w+)(?: (\d+))?$/.exec(line) ?? [];
    const image = name === 'POD' ? 'pause' : 'web:1';
    const running = state === 'running';
    return {
      id: `${name}-${attempt}`,
      name: line,
      labels: {
        [LABEL.podUid]: 'uid-a',
        [LABEL.type]: name === 'POD' ? 'podsandbox' : 'container',
        [LABEL.containerName]: name,
        [LABEL.restartCount]: attempt,
        [LABEL.hash]: containerHash({ name, image }),
        [LABEL.sandboxId]: 'POD-0',
      },
      image,
      imageId: 'sha256:1',
      state: state as ObservedContainer['state'],
      createdAt: 1_000,
      ...(running ? { pid: 42 } : {}),
      ...(state === 'created' ? {} : { startedAt: 1_000 }),
      ...(code === undefined ? {} : { exitCode: Number(code), finishedAt: 2_000 }),
    };
  });
}

function planned(
  lines: string[],
  more: { pod?: Pod; facts?: Partial<PodFacts>; now?: number; orphan?: boolean } = {},
) {
  const facts = { ...newFacts(), ...more.facts };
  const input: PlanInput = {
    pod: more.pod ?? testPod('a', { containers: [web] }),
    orphan: more.orphan ?? false,
    observed: observePod('uid-a', observed(...lines)),
    facts,
    now: more.now ?? 0,
  };
  return plan(input);
}

const keys = (steps: Step[]): string[] => steps.map(keyOf).sort();
const ready: Partial<PodFacts> = {
  volumesReady: true,
  network: { sandboxId: 'POD-0', ips: ['10.42.0.2'] },
  images: new Map([['web', { attempt: 0, imageId: 'sha256:1', user: '' }]]),
};

describe('plan', () => {
  it('begins with everything that can be done at the same time', () => {
    expect(keys(planned([]).steps)).toEqual(['CreateSandbox', 'PrepareVolumes', 'PullImage/web']);
  });

  it('makes the container while the sandbox starts', () => {
    const facts = { ...ready, network: undefined };
    expect(keys(planned(['POD/0 created'], { facts }).steps)).toEqual([
      'CreateContainer/web',
      'StartSandbox/POD-0',
    ]);
  });

  it('but waits for the address when the environment holds it', () => {
    const pod = testPod('a', {
      containers: [{ ...web, env: [{ name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } }] }],
    });
    const facts = { ...ready, network: undefined };
    expect(keys(planned(['POD/0 created'], { facts, pod }).steps)).toEqual(['StartSandbox/POD-0']);
    expect(keys(planned(['POD/0 running'], { facts, pod }).steps)).toEqual(['AttachNetwork/POD-0']);
    expect(keys(planned(['POD/0 running'], { facts: ready, pod }).steps)).toEqual(['CreateContainer/web']);
  });

  it('starts a container only when the network stands', () => {
    const facts = { ...ready, network: undefined };
    expect(keys(planned(['POD/0 running', 'web/0 created'], { facts }).steps)).toEqual([
      'AttachNetwork/POD-0',
    ]);
    expect(keys(planned(['POD/0 running', 'web/0 created'], { facts: ready }).steps)).toEqual([
      'StartContainer/web-0',
    ]);
  });

  it('has nothing to do for a pod that runs', () => {
    const { steps, wakeAt } = planned(['POD/0 running', 'web/0 running'], { facts: ready });
    expect(steps).toEqual([]);
    expect(wakeAt).toBeUndefined();
  });

  it('does not repeat what is under way, nor what failed before its time', () => {
    const step: Step = { kind: 'StartContainer', container: 'web', id: 'web-0' };
    const inFlight = new Map([[keyOf(step), step]]);
    expect(planned(['POD/0 running', 'web/0 created'], { facts: { ...ready, inFlight } }).steps).toEqual([]);
    const failures = new Map([
      [keyOf(step), { reason: 'RunContainerError', message: 'no', count: 1, failedAt: 0, retryAt: 500 }],
    ]);
    const early = planned(['POD/0 running', 'web/0 created'], { facts: { ...ready, failures }, now: 100 });
    expect([early.steps, early.wakeAt]).toEqual([[], 500]);
    const due = planned(['POD/0 running', 'web/0 created'], { facts: { ...ready, failures }, now: 500 });
    expect(keys(due.steps)).toEqual(['StartContainer/web-0']);
  });

  it('waits out the back-off of a crashed container, and counts its attempts', () => {
    const facts = {
      ...ready,
      ended: new Map([['web-1', 1_000]]),
      backoff: new Map([[`web/${containerHash(web)}`, { delayMs: 10_000, updatedAt: 900 }]]),
      images: new Map([['web', { attempt: 2, imageId: 'sha256:1', user: '' }]]),
    };
    const early = planned(['POD/0 running', 'web/1 exited 1', 'web/0 exited 1'], { facts, now: 5_000 });
    expect(keys(early.steps)).toEqual(['RemoveContainer/web-0']);
    expect(early.wakeAt).toBe(11_000);
    expect(early.waiting.get('web')?.reason).toBe('CrashLoopBackOff');
    const due = planned(['POD/0 running', 'web/1 exited 1'], { facts, now: 11_000 });
    expect(due.steps).toEqual([
      { kind: 'CreateContainer', container: 'web', attempt: 2, sandboxId: 'POD-0', restarts: true },
    ]);
  });

  it('makes a whole new pod when the sandbox is dead, after its containers were stopped', () => {
    const first = planned(['POD/0 exited 137', 'web/0 running'], { facts: ready });
    expect(first.steps.map(({ kind }) => kind)).toEqual(['StopContainer']);
    const second = planned(['POD/0 exited 137', 'web/0 exited 143'], { facts: ready });
    expect(keys(second.steps)).toEqual(['DetachNetwork']);
    const third = planned(['POD/0 exited 137', 'web/0 exited 143'], {
      facts: { ...ready, network: undefined },
    });
    expect(third.steps[0]).toEqual({ kind: 'CreateSandbox', attempt: 1, changed: true });
  });

  it('makes no new sandbox for containers that are not to be restarted', () => {
    const pod = testPod('a', { restartPolicy: 'Never', containers: [web] });
    expect(planned(['POD/0 exited 137', 'web/0 exited 0'], { facts: ready, pod }).steps).toEqual([]);
  });

  it('ends sidecars after the others, the last started first', () => {
    const pod = testPod('a', {
      initContainers: [
        { ...web, name: 'one', restartPolicy: 'Always' },
        { ...web, name: 'two', restartPolicy: 'Always' },
      ],
      containers: [web],
    });
    const facts = { ...ready, terminatingSince: 0 };
    const stopped = (...lines: string[]) =>
      planned(['POD/0 running', ...lines], { facts, pod }).steps.flatMap((step) =>
        step.kind === 'StopContainer' ? [step.container] : [],
      );
    expect(stopped('one/0 running', 'two/0 running', 'web/0 running')).toEqual(['web']);
    expect(stopped('one/0 running', 'two/0 running', 'web/0 exited 0')).toEqual(['two']);
    expect(stopped('one/0 running', 'two/0 exited 0', 'web/0 exited 0')).toEqual(['one']);
  });

  it('gives everything back when the last container of a deleted pod has ended, and is finished then', () => {
    const pod = testPod('a', { containers: [web] }, { deletionTimestamp: '2026-01-01T00:00:00Z' });
    const facts = { ...ready, terminatingSince: 0 };
    const last = planned(['POD/0 running', 'web/0 exited 0'], { facts, pod });
    expect(last.terminated).toBe(true);
    expect(keys(last.steps)).toEqual([
      'DetachNetwork',
      'RemoveContainer/web-0',
      'RemoveLogs',
      'RemoveSandbox/POD-0',
    ]);
    // By its folder a pod that was left half-way is found again: that goes last.
    const folder = planned(['web/0 exited 0'], { facts: { ...facts, logsRemoved: true }, pod });
    expect(keys(folder.steps)).toContain('TeardownVolumes');
    const gone = {
      ...facts,
      network: undefined,
      cgroupReleased: true,
      logsRemoved: true,
      networkReleased: true,
      volumesReleased: true,
    };
    expect(planned([], { facts: gone, pod }).finished).toBe(true);
  });

  it('waits with the giving back while something is still being made', () => {
    const pod = testPod('a', { containers: [web] }, { deletionTimestamp: '2026-01-01T00:00:00Z' });
    const step: Step = {
      kind: 'CreateContainer',
      container: 'web',
      attempt: 0,
      sandboxId: 'POD-0',
      restarts: false,
    };
    const facts = { ...ready, terminatingSince: 0, inFlight: new Map([[keyOf(step), step]]) };
    const result = planned(['POD/0 running'], { facts, pod });
    expect([result.steps, result.terminated]).toEqual([[], false]);
  });

  it('ends a pod that only the engine knows by the grace period on its labels', () => {
    const containers = observed('POD/0 running', 'web/0 running');
    for (const container of containers) container.labels[LABEL.gracePeriod] = '7';
    const result = plan({
      pod: undefined,
      orphan: true,
      observed: observePod('uid-a', containers),
      facts: { ...newFacts(), terminatingSince: 1_000 },
      now: 1_000,
    });
    expect(result.steps).toEqual([
      {
        kind: 'StopContainer',
        container: 'web',
        id: 'web-0',
        deadline: 8_000,
        message: 'Stopping container web',
      },
    ]);
  });

  it('follows restartPolicyRules before the policy', () => {
    const pod = testPod('a', {
      restartPolicy: 'Never',
      containers: [
        {
          ...web,
          restartPolicy: 'Never',
          restartPolicyRules: [{ action: 'Restart', exitCodes: { operator: 'In', values: [42] } }],
        },
      ],
    });
    const facts = { ...ready, images: new Map([['web', { attempt: 1, imageId: 'sha256:1', user: '' }]]) };
    expect(keys(planned(['POD/0 running', 'web/0 exited 42'], { facts, pod }).steps)).toEqual([
      'CreateContainer/web',
    ]);
    expect(planned(['POD/0 running', 'web/0 exited 1'], { facts, pod }).steps).toEqual([]);
  });
});
