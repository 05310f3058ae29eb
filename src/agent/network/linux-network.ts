import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import { type Random, SystemRandom } from '../../lib/random.ts';
import { BoardServiceProxy, type ProxyMode, type ProxyNotice } from './board-proxy.ts';
import { type NetCommands, SystemNetCommands } from './commands.ts';
import { ForwardRules } from './forward.ts';
import { LinuxPodNetwork } from './pod-network.ts';
import { NetTable } from './table.ts';

/** The pod network and the Service proxy of this board, which share one nftables table. */
export function createLinuxNetwork(options: {
  nodeName: string;
  clock: Clock;
  logger: Logger;
  random?: Random;
  commands?: NetCommands;
  /** auto unless said. */
  proxyMode?: ProxyMode;
  /** Where kube-proxy's health is told, as `0.0.0.0:10256`; nowhere unless said. */
  healthAddress?: string | undefined;
  notify?: (notice: ProxyNotice) => void;
  /** The port of this board's loopback that the API is at, when the server runs here. */
  localApiPort?: number | undefined;
  /** How long a pod waits for the node's pod CIDR. */
  cidrDeadlineMs?: number;
}): { network: LinuxPodNetwork; proxy: BoardServiceProxy } {
  const { clock, nodeName } = options;
  const logger = options.logger.child({ part: 'network' });
  const commands = options.commands ?? new SystemNetCommands();
  const table = new NetTable({ commands, clock, logger, nodeName });
  const forward = new ForwardRules(commands);
  return {
    network: new LinuxPodNetwork({
      commands,
      clock,
      logger,
      nodeName,
      table,
      forward,
      ...(options.cidrDeadlineMs === undefined ? {} : { cidrDeadlineMs: options.cidrDeadlineMs }),
    }),
    proxy: new BoardServiceProxy({
      nodeName,
      mode: options.proxyMode ?? 'auto',
      commands,
      clock,
      random: options.random ?? new SystemRandom(),
      logger,
      table,
      forward,
      notify: options.notify ?? (() => {}),
      healthAddress: options.healthAddress ?? '',
      localApiPort: options.localApiPort,
    }),
  };
}
