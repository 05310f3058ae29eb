import type { ServerResponse } from 'node:http';
import { badRequest } from '../../../api/errors.ts';
import { PODS } from '../../../api/kinds.ts';
import type { Pod } from '../../../api/types/core-v1.ts';
import type { Client } from '../../../client/port.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Random } from '../../../lib/random.ts';
import { STREAMS_PATH } from '../../../wire/join.ts';
import type {
  PodStreamRequest,
  ProxyRequest,
  ProxySide,
  StreamHandlers,
  Upgrade,
  UpgradeRoute,
} from '../ports.ts';
import type { AgentStreams } from './agent-streams.ts';
import { flag, parseLogOptions, pipeLogs } from './logs.ts';
import { containerOfPod, nodeOfPod } from './pod-target.ts';
import { servePortForward } from './port-forward.ts';
import { type CommandStreams, negotiate, serveCommand } from './remote-command.ts';
import { acceptWebSocket } from './upgrade.ts';

/**
 * log, exec, attach and portforward of pods, and the proxies: looks the pod up, asks its node for a stream, joins client
 * and agent.
 */
export class PodStreams implements StreamHandlers {
  private readonly client: Client;
  private readonly agents: AgentStreams;
  private readonly clock: Clock;
  private readonly random: Random;

  constructor(options: { client: Client; agents: AgentStreams; clock: Clock; random: Random }) {
    this.client = options.client;
    this.agents = options.agents;
    this.clock = options.clock;
    this.random = options.random;
  }

  async log(request: PodStreamRequest, response: ServerResponse): Promise<void> {
    const pod = await this.client.get(PODS, request.namespace, request.name);
    const container = containerOfPod(pod, request.query.get('container') ?? '');
    const options = parseLogOptions(request.query);
    if (!pod.spec?.nodeName) {
      // Not scheduled yet: Kubernetes answers with an empty log.
      response.writeHead(200, { 'content-type': 'text/plain' }).end();
      return;
    }
    const podUid = pod.metadata.uid ?? '';
    const peer = await this.agents.dial(nodeOfPod(pod), { type: 'logs', podUid, container, ...options });
    await pipeLogs(peer, response, request.signal);
  }

  async upgrade(request: PodStreamRequest, upgrade: Upgrade): Promise<void> {
    const pod = await this.client.get(PODS, request.namespace, request.name);
    switch (request.subresource) {
      case 'exec':
      case 'attach':
        return this.command(request.subresource, pod, request.query, upgrade);
      case 'portforward':
        return this.portForward(pod, request.query, upgrade);
      default:
        throw badRequest('logs are read without an upgrade');
    }
  }

  async proxy(request: ProxyRequest, side: ProxySide): Promise<void> {
    const { serveProxy } = await import('./proxy/proxy.ts');
    const { client, agents, random } = this;
    return serveProxy({ client, agents, random }, request, side);
  }

  /** Where agents dial in. Plugged into the HTTP server beside the handlers. */
  agentRoute(): UpgradeRoute {
    return {
      path: STREAMS_PATH,
      who: 'node',
      upgrade: async (peer, upgrade) => {
        const settle = this.agents.claim(peer.path.slice(STREAMS_PATH.length), peer.nodeName ?? '');
        if (!settle) throw badRequest('nobody waits for this stream (any more)');
        settle(await acceptWebSocket(upgrade, ''));
      },
    };
  }

  private async command(
    type: 'exec' | 'attach',
    pod: Pod,
    query: URLSearchParams,
    upgrade: Upgrade,
  ): Promise<void> {
    const container = containerOfPod(pod, query.get('container') ?? '');
    const phase = pod.status?.phase;
    if (phase === 'Succeeded' || phase === 'Failed') {
      throw badRequest(
        type === 'exec'
          ? `cannot exec into a container in a completed pod; current phase is ${phase}`
          : `cannot attach a container in a completed pod; current phase is ${phase}`,
      );
    }
    const tty = flag(query, 'tty');
    const streams: CommandStreams = {
      stdin: flag(query, 'stdin'),
      stdout: flag(query, 'stdout'),
      stderr: flag(query, 'stderr') && !tty,
      tty,
    };
    if (!streams.stdin && !streams.stdout && !streams.stderr) {
      throw badRequest('you must specify at least 1 of stdin, stdout, stderr');
    }
    const command = query.getAll('command');
    if (type === 'exec' && command.length === 0) throw badRequest('you must specify at least 1 command');
    const negotiated = negotiate(upgrade);
    const podUid = pod.metadata.uid ?? '';
    const agent = await this.agents.dial(
      nodeOfPod(pod),
      type === 'exec'
        ? { type, podUid, container, command, ...streams }
        : { type, podUid, container, ...streams },
    );
    try {
      await serveCommand({ agent, upgrade, negotiated, streams, clock: this.clock });
    } catch (error) {
      agent.close();
      throw error;
    }
  }

  private async portForward(pod: Pod, query: URLSearchParams, upgrade: Upgrade): Promise<void> {
    const phase = pod.status?.phase;
    if (phase !== 'Running') {
      throw badRequest(
        `unable to forward port because pod is not running. Current status=${phase ?? 'Pending'}`,
      );
    }
    const node = nodeOfPod(pod);
    const podUid = pod.metadata.uid ?? '';
    await servePortForward(upgrade, query, (port) =>
      this.agents.dial(node, { type: 'portforward', podUid, port }),
    );
  }
}
