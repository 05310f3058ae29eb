import { listenerName, listenerQuery } from '../../lib/listener.ts';
import { SystemNetCommands } from '../network/commands.ts';

/** The program that listens at a TCP port of this board, as `nginx (pid 812)`. Loaded when a port is taken. */
export async function portOwner(port: number): Promise<string | undefined> {
  return listenerName(await new SystemNetCommands({ timeoutMs: 5_000 }).run(listenerQuery(port)));
}
