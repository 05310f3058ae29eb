import type { Logger } from '../../lib/logger.ts';
import type { SharedService } from '../../wire/messages.ts';
import type { ServiceChange } from './board-rules.ts';
import { CommandError, type NetCommand, type NetCommands } from './commands.ts';
import { isIPv4 } from './ipv4.ts';

/** More at once are left to age: thirty seconds without a packet. */
const MOST_AT_ONCE = 200;

/** Where UDP packets were sent by a Service: its address or node port, and the endpoint behind it ('' when there was none). */
interface UdpPath {
  front: string;
  endpoint: string;
}

function pathsOf(services: readonly SharedService[]): Map<string, UdpPath> {
  const paths = new Map<string, UdpPath>();
  for (const service of services) {
    for (const port of service.ports) {
      if (port.protocol !== 'UDP') continue;
      const fronts = [...service.clusterIPs, ...(service.externalIPs ?? []), ...(service.balancerIPs ?? [])]
        .filter(isIPv4)
        .map((ip) => `--orig-dst ${ip} --orig-port-dst ${port.port}`);
      if (port.nodePort) fronts.push(`--orig-port-dst ${port.nodePort}`);
      const endpoints = port.endpoints.map(({ ip }) => ip).filter(isIPv4);
      for (const front of fronts) {
        for (const endpoint of endpoints.length > 0 ? endpoints : [''])
          paths.set(`${front} ${endpoint}`, { front, endpoint });
      }
    }
  }
  return paths;
}

/**
 * What to delete after Services changed: UDP has no end of a connection, so a client that goes on sending keeps its
 * entry alive, and with it the way to an endpoint that is gone, or to none when there was none at first.
 */
export function staleFlows(previous: readonly SharedService[], next: readonly SharedService[]): NetCommand[] {
  const now = pathsOf(next);
  const commands: NetCommand[] = [];
  for (const [key, { front, endpoint }] of pathsOf(previous)) {
    if (now.has(key)) continue;
    const target = endpoint === '' ? [] : ['--dst-nat', endpoint];
    commands.push({ file: 'conntrack', args: ['-D', '-p', 'udp', ...front.split(' '), ...target] });
  }
  return commands;
}

/** Deletes what `staleFlows` says, after the rules that made those flows are gone. Never fails. */
export class UdpFlows {
  private readonly commands: NetCommands;
  private readonly logger: Logger;
  private missing = false;

  constructor(options: { commands: NetCommands; logger: Logger }) {
    this.commands = options.commands;
    this.logger = options.logger;
  }

  /** What came, changed or went. */
  async applied(changes: readonly ServiceChange[]): Promise<void> {
    if (this.missing) return;
    const stale = staleFlows(
      changes.flatMap(({ previous }) => previous ?? []),
      changes.flatMap(({ next }) => next ?? []),
    );
    for (const command of stale.slice(0, MOST_AT_ONCE)) {
      try {
        await this.commands.run(command);
      } catch (error) {
        // It ends with 1 when there was nothing to delete.
        if (!(error instanceof CommandError) || !error.missing) continue;
        this.missing = true;
        this.logger.warn(
          {},
          'conntrack is not installed: clients that send UDP without a pause stay with an endpoint that is gone (apt-get install conntrack)',
        );
        return;
      }
    }
  }
}
