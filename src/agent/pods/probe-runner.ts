import type { Pod, Probe } from '../../api/types/core-v1.ts';
import {
  afterProbe,
  initialProbeState,
  type ProbeKind,
  type ProbeState,
  probeTiming,
} from '../../health/probes.ts';
import type { Clock, Timer } from '../../lib/clock.ts';
import type { NamedContainer } from '../names.ts';
import type { ProbeResults } from './facts.ts';
import type { Handlers } from './handlers.ts';
import type { ObservedInstance } from './observe.ts';
import type { PodEvents } from './pod-events.ts';

const KINDS: readonly ProbeKind[] = ['startup', 'liveness', 'readiness'];

interface Watched {
  pod: Pod;
  named: NamedContainer;
  podIP: string | undefined;
  probes: Map<ProbeKind, { state: ProbeState; timer: Timer | undefined; busy: boolean; held: boolean }>;
}

/**
 * Runs the probes of one pod's running instances and writes what they find into `results`. Liveness and readiness wait
 * for a startup probe; a failed liveness or startup probe is not tried again before its instance was restarted.
 */
export class ProbeRunner {
  private readonly clock: Clock;
  private readonly handlers: Handlers;
  private readonly events: PodEvents;
  private readonly results: Map<string, ProbeResults>;
  private readonly onChange: () => void;
  private readonly watched = new Map<string, Watched>();

  constructor(options: {
    clock: Clock;
    handlers: Handlers;
    events: PodEvents;
    results: Map<string, ProbeResults>;
    onChange: () => void;
  }) {
    this.clock = options.clock;
    this.handlers = options.handlers;
    this.events = options.events;
    this.results = options.results;
    this.onChange = options.onChange;
  }

  /**
   * `running`: the pod's running instances that have been started completely. `before`: what the last status said of
   * an instance, for those that this agent has adopted. While the pod terminates only readiness is still asked.
   */
  sync(
    pod: Pod,
    running: readonly { named: NamedContainer; instance: ObservedInstance }[],
    context: {
      podIP: string | undefined;
      terminating: boolean;
      before: (instance: ObservedInstance) => { ready: boolean; started: boolean } | undefined;
    },
  ): void {
    const present = new Set(running.map(({ instance }) => instance.id));
    for (const id of this.watched.keys()) if (!present.has(id)) this.forget(id);
    for (const { named, instance } of running) {
      const known = this.watched.get(instance.id);
      if (known) {
        known.pod = pod;
        known.named = named;
        known.podIP = context.podIP;
        if (context.terminating) {
          for (const kind of ['startup', 'liveness'] as const) this.end(known, kind);
        }
        continue;
      }
      if (context.podIP === undefined) continue;
      this.begin(pod, named, instance, context);
    }
  }

  stop(): void {
    for (const id of [...this.watched.keys()]) this.forget(id);
  }

  private begin(
    pod: Pod,
    named: NamedContainer,
    instance: ObservedInstance,
    context: Parameters<ProbeRunner['sync']>[2],
  ): void {
    const watched: Watched = { pod, named, podIP: context.podIP, probes: new Map() };
    this.watched.set(instance.id, watched);
    const { startupProbe, readinessProbe } = named.container;
    const before = context.before(instance);
    const started = !startupProbe || before?.started === true;
    this.results.set(instance.id, { started, ready: !readinessProbe || before?.ready === true });
    for (const kind of KINDS) {
      const probe = probeOf(named, kind);
      if (!probe || (kind === 'startup' && started)) continue;
      if (context.terminating && kind !== 'readiness') continue;
      const initial = initialProbeState(kind);
      const state: ProbeState =
        kind === 'readiness' && before?.ready ? { ...initial, verdict: 'success' } : initial;
      watched.probes.set(kind, { state, timer: undefined, busy: false, held: false });
      if (kind !== 'startup' && !started) continue;
      this.schedule(instance, watched, kind, this.firstDelay(probe, instance));
    }
  }

  /** Counted from the start of the instance, which an adopted one has long behind it. */
  private firstDelay(probe: Probe, instance: ObservedInstance): number {
    const running = Math.max(0, this.clock.now() - (instance.startedAt ?? this.clock.now()));
    return Math.max(0, probeTiming(probe).initialDelayMs - running);
  }

  private schedule(instance: ObservedInstance, watched: Watched, kind: ProbeKind, delayMs: number): void {
    const entry = watched.probes.get(kind);
    if (!entry) return;
    entry.timer?.cancel();
    entry.timer = this.clock.after(delayMs, () => void this.run(instance, watched, kind));
  }

  private async run(instance: ObservedInstance, watched: Watched, kind: ProbeKind): Promise<void> {
    const entry = watched.probes.get(kind);
    const probe = probeOf(watched.named, kind);
    if (!entry || !probe || entry.busy || entry.held) return;
    const timing = probeTiming(probe);
    entry.busy = true;
    const began = this.clock.monotonic();
    const outcome = await this.handlers.probe(
      probe,
      {
        pod: watched.pod,
        container: watched.named.container,
        containerId: instance.id,
        podIP: watched.podIP,
      },
      timing.timeoutMs,
    );
    entry.busy = false;
    // Ended or forgotten while it ran.
    if (watched.probes.get(kind) !== entry || this.watched.get(instance.id) !== watched) return;
    if (outcome.result !== 'success') {
      const verb = outcome.result === 'failure' ? 'failed' : 'errored and resulted in unknown state';
      const text = `${titleOf(kind)} probe ${verb}: ${outcome.output}`;
      this.events.container(watched.pod, watched.named, 'Warning', 'Unhealthy', text);
    }
    if (outcome.warning !== undefined) {
      const text = `${titleOf(kind)} probe warning: ${outcome.warning}`;
      this.events.container(watched.pod, watched.named, 'Warning', 'ProbeWarning', text);
    }
    const before = entry.state.verdict;
    entry.state = afterProbe(entry.state, outcome.result, timing);
    if (entry.state.verdict !== before) this.conclude(instance, watched, kind, entry);
    if (!entry.held && watched.probes.get(kind) === entry) {
      const spent = this.clock.monotonic() - began;
      this.schedule(instance, watched, kind, Math.max(0, timing.periodMs - spent));
    }
  }

  private conclude(
    instance: ObservedInstance,
    watched: Watched,
    kind: ProbeKind,
    entry: { state: ProbeState; held: boolean },
  ): void {
    const results = this.results.get(instance.id) ?? { ready: false, started: false };
    const good = entry.state.verdict === 'success';
    if (kind === 'readiness') results.ready = good;
    else if (!good) {
      results.failed = kind;
      entry.held = true;
    } else if (kind === 'startup') {
      results.started = true;
      this.end(watched, 'startup');
      for (const other of ['liveness', 'readiness'] as const) {
        const probe = probeOf(watched.named, other);
        if (probe) this.schedule(instance, watched, other, this.firstDelay(probe, instance));
      }
    }
    this.results.set(instance.id, { ...results });
    this.onChange();
  }

  private end(watched: Watched, kind: ProbeKind): void {
    watched.probes.get(kind)?.timer?.cancel();
    watched.probes.delete(kind);
  }

  private forget(id: string): void {
    const watched = this.watched.get(id);
    if (!watched) return;
    for (const kind of KINDS) this.end(watched, kind);
    this.watched.delete(id);
    this.results.delete(id);
  }
}

function probeOf({ container }: NamedContainer, kind: ProbeKind): Probe | undefined {
  if (kind === 'startup') return container.startupProbe;
  return kind === 'liveness' ? container.livenessProbe : container.readinessProbe;
}

function titleOf(kind: ProbeKind): string {
  return `${kind[0]?.toUpperCase()}${kind.slice(1)}`;
}
