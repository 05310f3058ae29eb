import type { Pod, PodStatus } from '../../api/types/core-v1.ts';
import type { Timer } from '../../lib/clock.ts';
import { sameJson } from '../../lib/equal.ts';
import type { NodeObjection } from '../../wire/messages.ts';
import type { EndOrder } from '../eviction/port.ts';
import { isReplaced } from '../images/image-manager.ts';
import { containersOf, type NamedContainer } from '../names.ts';
import { RuntimeError } from '../runtime.ts';
import { ActiveTime } from './active-time.ts';
import { execute } from './execute.ts';
import { newFacts, type PodFacts } from './facts.ts';
import { forgottenExits } from './forgotten.ts';
import { latest, type ObservedInstance, type ObservedPod } from './observe.ts';
import { type Plan, plan, workIsDone } from './plan.ts';
import { nothingRuns } from './plan-termination.ts';
import { ProbeRunner } from './probe-runner.ts';
import { progressResize } from './resize-progress.ts';
import type { PodServices } from './services.ts';
import { computeStatus } from './status.ts';
import { StepError } from './step-error.ts';
import { keyOf, type Step } from './steps.ts';
import { lastWords } from './termination-message.ts';

/** Tokens are renewed well before they end, and files of the downward API follow their pod. */
const CONTENT_REFRESH_MS = 60_000;
const GENERAL_RETRY = { retryMs: 1_000, longestMs: 30_000 };

/**
 * One pod's life on this node: observe, compute the status, plan, execute, again; until nothing is left to do.
 *
 * Invariants:
 * - planning is serial: one pass at a time, and every change makes one more pass;
 * - a step under way is never started twice; steps of one plan run beside each other;
 * - nothing here waits for another pod (creates and starts are only counted out by the node's limiter).
 */
export class PodWorker {
  readonly uid: string;
  private readonly services: PodServices;
  private readonly onGone: (uid: string) => void;
  private readonly facts: PodFacts = newFacts();
  private readonly probes: ProbeRunner;
  private readonly messages = new Map<string, string>();
  /** As it is to run: with the resources that it has been given. */
  private pod: Pod | undefined;
  private readonly active: ActiveTime;
  private orphan = false;
  private previous: PodStatus | undefined;
  private final: PodStatus | undefined;
  private waiting: Plan['waiting'] = new Map();
  private timer: Timer | undefined;
  private refreshTimer: Timer | undefined;
  private deadlineTimer: Timer | undefined;
  private reported = false;
  private dirty = false;
  private passing: Promise<void> | undefined;
  private stopped = false;

  constructor(options: {
    uid: string;
    services: PodServices;
    /** Nothing of the pod is left, and the server was told if it has to know. */
    onGone: (uid: string) => void;
    /** Adopted from an earlier life of the agent. */
    network?: { sandboxId: string; ips: string[] };
  }) {
    this.uid = options.uid;
    this.services = options.services;
    this.onGone = options.onGone;
    this.facts.network = options.network;
    this.active = new ActiveTime(options.services.clock);
    this.probes = new ProbeRunner({
      clock: options.services.clock,
      handlers: options.services.handlers,
      events: options.services.events,
      results: this.facts.probes,
      onChange: () => this.wake(),
    });
  }

  /** The pod as desired now; undefined when it is desired no more: what runs of it is ended, and nobody is told. */
  update(pod: Pod | undefined): void {
    // Wanted after all: what is being ended ends first, and then the pod begins anew (see PodManager.gone).
    if (this.orphan && pod && pod.metadata.deletionTimestamp === undefined) return;
    const before = this.pod;
    this.orphan = pod === undefined;
    if (pod) {
      if (!before) this.begin(pod);
      this.pod =
        this.facts.terminal || this.facts.stopped
          ? pod
          : this.services.allocations.allocated(pod, this.previous);
      if (!before && this.services.view.pod(this.uid).sandboxes.length > 0) {
        this.services.cgroups?.adopt(this.pod);
      }
      if (before && before.metadata.resourceVersion !== pod.metadata.resourceVersion) this.configChanged();
    }
    if (pod?.metadata.deletionTimestamp !== undefined || this.orphan) {
      this.facts.terminatingSince ??= this.services.clock.monotonic();
    }
    this.wake();
  }

  get current(): Pod | undefined {
    return this.pod;
  }

  /** It has ended, or is being ended. */
  get over(): boolean {
    const { terminal, killed, terminatingSince } = this.facts;
    return terminal || killed !== undefined || terminatingSince !== undefined;
  }

  /** It holds a part of what the node has. */
  get occupies(): boolean {
    const { terminal, killed, stopped } = this.facts;
    return this.pod !== undefined && !this.orphan && !(stopped && (terminal || killed));
  }

  /** The node does not take the pod: it stays Failed, and nothing of it is ever made. */
  reject(pod: Pod, { reason, message }: NodeObjection): void {
    this.facts.killed = { reason, message: `Pod was rejected: ${message}` };
    this.facts.rejected = true;
    this.facts.stopped = true;
    this.services.allocations.release(this.uid);
    this.services.events.pod(pod, 'Warning', reason, message);
  }

  /** A ConfigMap or Secret has changed: volumes are brought up to date, and what failed for want of it is tried again. */
  configChanged(): void {
    this.facts.volumesReady = false;
    for (const [key, failure] of this.facts.failures) {
      if (key === 'PrepareVolumes' || key.startsWith('CreateContainer/')) failure.retryAt = 0;
      // Credentials may be right now.
      else if (key.startsWith('PullImage/') && this.pod?.spec?.imagePullSecrets?.length) failure.retryAt = 0;
    }
    this.wake();
  }

  /** Images came to the board without a pull: what waits for one goes on at once. */
  imagesArrived(isOne: (image: string) => boolean): void {
    const wanted = this.pod ? containersOf(this.pod).map(({ container }) => container.image ?? '') : [];
    const volumes = (this.pod?.spec?.volumes ?? []).map(({ image }) => image?.reference ?? '');
    if (![...wanted, ...volumes].some(isOne)) return;
    for (const [key, failure] of this.facts.failures) {
      if (key === 'PrepareVolumes' || key.startsWith('PullImage/')) failure.retryAt = 0;
    }
    this.wake();
  }

  /** Ends the pod for good: it stays Failed with this reason. */
  end(order: EndOrder): void {
    if (!this.pod || this.facts.killed || this.facts.terminal) return;
    this.facts.killed = order;
    this.wake();
  }

  /** Removes ended instances that nothing needs: all of a pod that has ended, the predecessors of one that lives. */
  async removeDead(): Promise<number> {
    const over = this.facts.terminal || this.facts.killed !== undefined;
    const observed = this.services.view.pod(this.uid);
    const dead = [...observed.containers].flatMap(([container, instances]) =>
      instances
        .filter(({ state }, index) => state === 'exited' && (over || index > 0))
        .map(({ id }): Step => ({ kind: 'RemoveContainer', id, container }))
        .filter((step) => !this.facts.inFlight.has(keyOf(step))),
    );
    await Promise.all(dead.map((step) => this.startStep(step)));
    return dead.length;
  }

  /** Look again, soon. */
  wake(): void {
    if (this.stopped) return;
    this.dirty = true;
    // Not at once: what comes in one turn of the event loop is one pass, and one report.
    this.passing ??= new Promise(setImmediate).then(() => this.passes());
  }

  /** Leaves the pod as it is. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.timer?.cancel();
    this.refreshTimer?.cancel();
    this.deadlineTimer?.cancel();
    this.probes.stop();
    await this.passing;
  }

  /** The last status that was computed. */
  get status(): PodStatus | undefined {
    return this.final ?? this.previous;
  }

  private begin(pod: Pod): void {
    const stored = this.services.lastStatus(this.uid) ?? pod.status;
    // A status that a kubelet has never written has no start time.
    if (stored?.startTime) this.previous = stored;
    if (stored?.phase === 'Succeeded' || stored?.phase === 'Failed') this.facts.terminal = true;
    const observed = this.services.view.pod(this.uid);
    if (this.facts.terminal) this.facts.stopped = nothingRuns(observed, this.facts.inFlight);
    const statuses = [...(stored?.initContainerStatuses ?? []), ...(stored?.containerStatuses ?? [])];
    for (const { name, containerID, restartCount, state } of statuses) {
      if (containerID && !latest(observed, name)) this.facts.restartCounts.set(name, restartCount + 1);
      if (containerID && state?.terminated?.message) {
        this.messages.set(containerID.replace('docker://', ''), state.terminated.message);
      }
    }
    const changing = (pod.spec?.volumes ?? []).some(({ projected, downwardAPI }) => projected || downwardAPI);
    if (changing) {
      this.refreshTimer = this.services.clock.every(CONTENT_REFRESH_MS, () => {
        this.facts.volumesReady = false;
        this.wake();
      });
    }
  }

  private async passes(): Promise<void> {
    try {
      while (this.dirty && !this.stopped) {
        this.dirty = false;
        await this.pass();
      }
    } catch (error) {
      this.services.logger.error(
        { pod: this.uid, error: (error as Error).stack },
        'pod worker failed; it goes on',
      );
      this.timer?.cancel();
      this.timer = this.services.clock.after(GENERAL_RETRY.retryMs, () => this.wake());
    } finally {
      this.passing = undefined;
      // Woken between the last look at `dirty` and here.
      if (this.dirty && !this.stopped) this.wake();
    }
  }

  private async pass(): Promise<void> {
    const { view, clock } = this.services;
    // Without the engine nothing is known: statuses stay as they are, and the node's condition tells the rest.
    if (!view.available) return;
    const observed = view.pod(this.uid);
    this.active.observe(this.previous?.startTime);
    await this.learn(observed);
    this.noteStop(observed);
    if (this.pod && !this.orphan) this.pod = progressResize(this.pod, observed, this.facts, this.services);
    this.syncProbes(observed);
    this.report(observed);
    const now = clock.monotonic();
    const next = plan({ pod: this.pod, orphan: this.orphan, observed, facts: this.facts, now });
    this.tell(next);
    if (!sameWaiting(this.waiting, next.waiting)) {
      this.waiting = next.waiting;
      this.report(observed);
    }
    if (next.terminated && this.pod && !this.orphan && this.facts.terminatingSince !== undefined) {
      this.final ??= this.compute(this.pod, observed, true);
    }
    if (next.finished) {
      this.finish();
      return;
    }
    this.timer?.cancel();
    if (next.wakeAt !== undefined) {
      this.timer = clock.after(Math.max(1, next.wakeAt - now), () => this.wake());
    }
    for (const step of next.steps) void this.startStep(step);
  }

  /** What has ended, and what it said last; whether the pod's work is done. */
  private async learn(observed: ObservedPod): Promise<void> {
    const { clock } = this.services;
    const live = new Set<string>();
    for (const instances of observed.containers.values()) {
      for (const instance of instances) {
        live.add(instance.id);
        const next = Math.max(this.facts.restartCounts.get(instance.name) ?? 0, instance.attempt + 1);
        if (instance.state !== 'created') this.facts.restartCounts.set(instance.name, next);
        if (instance.state !== 'exited') continue;
        if (!this.facts.ended.has(instance.id)) {
          // The wall clock may have jumped: an end in the future is an end just now.
          const ago = Math.max(0, clock.now() - (instance.finishedAt ?? clock.now()));
          this.facts.ended.set(instance.id, clock.monotonic() - ago);
        }
        if (!this.messages.has(instance.id)) {
          this.messages.set(instance.id, await lastWords(this.uid, instance, this.services));
          await this.learnRefusal(instance);
        }
      }
    }
    for (const id of this.facts.ended.keys()) if (!live.has(id)) this.facts.ended.delete(id);
    if (!this.pod || this.facts.killed) return;
    this.facts.forgotten = forgottenExits(this.pod, observed, this.previous);
    if (this.facts.terminatingSince === undefined && workIsDone(this.pod, observed, this.facts)) {
      this.facts.terminal = true;
    }
    this.checkDeadline(this.pod);
  }

  /** What it had on this board is free only when nothing of it runs any more. */
  private noteStop(observed: ObservedPod): void {
    const { terminal, killed, terminatingSince, stopped, inFlight } = this.facts;
    const ending = terminal || killed !== undefined || terminatingSince !== undefined;
    if (!ending || stopped) return;
    this.facts.endingSince ??= this.services.clock.monotonic();
    if (!nothingRuns(observed, inFlight)) return;
    this.facts.stopped = true;
    this.services.allocations.release(this.uid);
  }

  /** The kernel will not run it here, ever: a pod that is replaced goes where it can run, another says why it does not. */
  private async learnRefusal(instance: ObservedInstance): Promise<void> {
    const { pod } = this;
    const named = pod && containersOf(pod).find(({ container }) => container.name === instance.name);
    if (!named || this.over || (instance.exitCode ?? 0) === 0) return;
    const message = await this.services.images.refused(pod, named, instance);
    if (message === undefined) return;
    this.messages.set(instance.id, message);
    if (named.role !== 'ephemeral' && isReplaced(pod)) {
      this.end({ reason: 'ImageArchitecture', message: `Pod was rejected: ${message}` });
    }
  }

  private checkDeadline(pod: Pod): void {
    const seconds = pod.spec?.activeDeadlineSeconds;
    const elapsed = this.active.elapsedMs;
    if (seconds === undefined || elapsed === undefined || this.facts.terminal) return;
    const left = seconds * 1000 - elapsed;
    this.deadlineTimer?.cancel();
    if (left > 0) {
      this.deadlineTimer = this.services.clock.after(left, () => this.wake());
      return;
    }
    const message = 'Pod was active on the node longer than the specified deadline';
    this.facts.killed = { reason: 'DeadlineExceeded', message };
    this.services.events.pod(pod, 'Normal', 'DeadlineExceeded', message);
  }

  private syncProbes(observed: ObservedPod): void {
    const { pod, facts } = this;
    if (!pod) return;
    const running: { named: NamedContainer; instance: ObservedInstance }[] = [];
    for (const named of containersOf(pod)) {
      if (named.role === 'ephemeral' || named.role === 'init') continue;
      const instance = latest(observed, named.container.name);
      if (instance?.state !== 'running' || facts.inFlight.has(`StartContainer/${instance.id}`)) continue;
      running.push({ named, instance });
    }
    this.probes.sync(pod, running, {
      podIP: facts.network?.ips[0],
      terminating: facts.terminatingSince !== undefined,
      before: (instance) => {
        const status = [
          ...(this.previous?.containerStatuses ?? []),
          ...(this.previous?.initContainerStatuses ?? []),
        ].find(({ containerID }) => containerID === `docker://${instance.id}`);
        return status && { ready: status.ready, started: status.started ?? false };
      },
    });
  }

  /** The clock was set since the pod began: its start is told as the clock has it now. */
  private withCurrentStart(previous: PodStatus | undefined): PodStatus | undefined {
    const startTime = previous?.startTime && this.active.corrected(previous.startTime);
    return startTime ? { ...previous, startTime } : previous;
  }

  private compute(pod: Pod, observed: ObservedPod, ended: boolean): PodStatus {
    const { services, facts, waiting, previous, messages } = this;
    return computeStatus({
      pod,
      observed,
      facts,
      waiting,
      previous: this.withCurrentStart(previous),
      messages,
      imageNames: services.imageNames,
      node: services.node(),
      ended,
      now: services.clock.now(),
    });
  }

  private report(observed: ObservedPod): void {
    const { pod } = this;
    // After the last status was computed containers are only being removed: that is no news.
    if (!pod || this.orphan || this.final) return;
    const status = this.compute(pod, observed, false);
    // Once in any case: what the process before this one has reported may never have arrived.
    if (this.reported && sameJson(this.previous, status)) return;
    this.reported = true;
    this.previous = status;
    this.services.reporter.podStatus(pod, status);
  }

  /** Events of the states that a plan waits in, once for each time they begin. */
  private tell(next: Plan): void {
    const { pod } = this;
    if (!pod) return;
    for (const named of containersOf(pod)) {
      const { name, image } = named.container;
      const reason = next.waiting.get(name)?.reason;
      if (reason === undefined || reason === this.waiting.get(name)?.reason) continue;
      if (reason === 'CrashLoopBackOff') {
        const { namespace, name: podName, uid } = { ...pod.metadata };
        const message = `Back-off restarting failed container ${name} in pod ${podName}_${namespace}(${uid})`;
        this.services.events.container(pod, named, 'Warning', 'BackOff', message);
      } else if (reason === 'ImagePullBackOff') {
        this.services.events.container(
          pod,
          named,
          'Normal',
          'BackOff',
          `Back-off pulling image "${image ?? ''}"`,
        );
        this.services.events.container(pod, named, 'Warning', 'Failed', 'Error: ImagePullBackOff');
      }
    }
  }

  private startStep(step: Step): Promise<void> {
    const key = keyOf(step);
    this.facts.inFlight.set(key, step);
    return execute(
      step,
      { uid: this.uid, pod: this.pod, facts: this.facts, observed: () => this.services.view.pod(this.uid) },
      this.services,
    )
      .then(
        () => this.succeeded(step, key),
        (error: Error) => this.failed(step, key, error),
      )
      .finally(() => {
        this.facts.inFlight.delete(key);
        this.wake();
      });
  }

  private succeeded(step: Step, key: string): void {
    // A sandbox that is made again and again but never starts is one failure that goes on.
    if (step.kind !== 'CreateSandbox') this.facts.failures.delete(key);
    if (step.kind === 'StartSandbox') this.facts.failures.delete('CreateSandbox');
  }

  private failed(step: Step, key: string, error: Error): void {
    const away = error instanceof RuntimeError && error.code === 'Unavailable';
    const known = error instanceof StepError ? error : undefined;
    if (!known && !away) {
      this.services.logger.warn({ pod: this.uid, step: key, error: error.message }, 'step failed');
    }
    const { retryMs, longestMs } = known ?? GENERAL_RETRY;
    const now = this.services.clock.monotonic();
    const keys = step.kind === 'StartSandbox' ? [key, 'CreateSandbox'] : [key];
    for (const each of keys) {
      const count = (this.facts.failures.get(each)?.count ?? 0) + 1;
      const delay = away
        ? GENERAL_RETRY.retryMs
        : Math.min(retryMs * 2 ** Math.min(count - 1, 20), longestMs);
      this.facts.failures.set(each, {
        reason: known?.reason ?? step.kind,
        message: error.message,
        count,
        failedAt: now,
        retryAt: now + delay,
      });
    }
  }

  private finish(): void {
    const { pod, final } = this;
    void this.stop();
    this.services.allocations.release(this.uid);
    if (pod && final && !this.orphan) this.services.reporter.podGone(pod, final);
    this.onGone(this.uid);
  }
}

function sameWaiting(left: Plan['waiting'], right: Plan['waiting']): boolean {
  return sameJson([...left], [...right]);
}
