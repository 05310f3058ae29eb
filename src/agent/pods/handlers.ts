import type { Container, LifecycleHandler, Pod, Probe } from '../../api/types/core-v1.ts';
import { grpcProbe, httpProbe, type ProbeTarget, tcpProbe } from '../../health/probers.ts';
import type { ProbeOutcome } from '../../health/probes.ts';
import { type Clock, sleep } from '../../lib/clock.ts';
import { type ContainerRuntime, RuntimeError } from '../runtime.ts';

const MOST_OUTPUT = 10 * 1024;

export interface HandlerTarget {
  pod: Pod;
  container: Container;
  containerId: string;
  podIP: string | undefined;
}

/** Runs the actions of probes and hooks: exec in the container, HTTP, TCP and gRPC from the host to the pod's address. */
export class Handlers {
  private readonly runtime: ContainerRuntime;
  private readonly clock: Clock;

  constructor(options: { runtime: ContainerRuntime; clock: Clock }) {
    this.runtime = options.runtime;
    this.clock = options.clock;
  }

  /** One try of a probe. Never rejects. */
  async probe(probe: Probe, where: HandlerTarget, timeoutMs: number): Promise<ProbeOutcome> {
    try {
      if (probe.exec) return await this.exec(where.containerId, probe.exec.command ?? [], timeoutMs);
      const target = this.target(where, timeoutMs);
      if (!target) return { result: 'unknown', output: 'the pod has no address yet' };
      if (probe.httpGet) return await httpProbe(probe.httpGet, target);
      if (probe.tcpSocket) return await tcpProbe(probe.tcpSocket, target);
      if (probe.grpc) return await grpcProbe(probe.grpc, target);
      return { result: 'unknown', output: 'missing probe handler' };
    } catch (error) {
      return { result: 'unknown', output: (error as Error).message };
    }
  }

  /** A postStart or preStop hook. Throws with the reason when it fails. */
  async hook(handler: LifecycleHandler, where: HandlerTarget, timeoutMs: number): Promise<void> {
    if (handler.sleep) {
      await sleep(this.clock, Math.min(handler.sleep.seconds * 1000, timeoutMs));
      return;
    }
    const outcome = handler.exec
      ? await this.exec(where.containerId, handler.exec.command ?? [], timeoutMs)
      : await this.networkHook(handler, where, timeoutMs);
    if (outcome.result !== 'success') throw new Error(outcome.output || 'the hook failed');
  }

  private async networkHook(
    handler: LifecycleHandler,
    where: HandlerTarget,
    timeoutMs: number,
  ): Promise<ProbeOutcome> {
    const target = this.target(where, timeoutMs);
    if (!target) return { result: 'failure', output: 'the pod has no address' };
    if (handler.httpGet) return await httpProbe(handler.httpGet, target);
    if (handler.tcpSocket) return await tcpProbe(handler.tcpSocket, target);
    return { result: 'failure', output: 'invalid handler: no action' };
  }

  private async exec(containerId: string, command: string[], timeoutMs: number): Promise<ProbeOutcome> {
    let output = '';
    const keep = (chunk: Buffer): void => {
      if (output.length < MOST_OUTPUT) output += chunk.toString('utf8', 0, MOST_OUTPUT - output.length);
    };
    const session = await this.runtime.exec(containerId, {
      command,
      stdin: false,
      stdout: true,
      stderr: true,
      tty: false,
    });
    session.onOutput({ stdout: keep, stderr: keep });
    let timedOut = false;
    const timer = this.clock.after(timeoutMs, () => {
      timedOut = true;
      void session.kill().catch(() => session.close());
    });
    try {
      const code = await session.exit;
      if (timedOut) return timeout(command, timeoutMs);
      return code === 0
        ? { result: 'success', output }
        : { result: 'failure', output: output || `exit code ${code}` };
    } catch (error) {
      if (timedOut) return timeout(command, timeoutMs);
      if (error instanceof RuntimeError && error.code === 'Unavailable') throw error;
      return { result: 'failure', output: (error as Error).message };
    } finally {
      timer.cancel();
    }
  }

  private target({ container, podIP }: HandlerTarget, timeoutMs: number): ProbeTarget | undefined {
    if (podIP === undefined) return undefined;
    return {
      clock: this.clock,
      host: podIP,
      timeoutMs,
      port: (port) => portNumber(container, port),
    };
  }
}

function timeout(command: string[], timeoutMs: number): ProbeOutcome {
  return {
    result: 'failure',
    output: `command timed out: "${command.join(' ')}" timed out after ${timeoutMs / 1000}s`,
  };
}

function portNumber(container: Container, port: number | string): number {
  const number = Number(port);
  if (Number.isInteger(number) && number > 0 && number < 65_536) return number;
  const named = container.ports?.find(({ name }) => name === port);
  if (!named) throw new Error(`invalid port: ${JSON.stringify(port)}: could not find port`);
  return named.containerPort;
}
