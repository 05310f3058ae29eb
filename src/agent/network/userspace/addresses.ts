import type { NetCommands } from '../commands.ts';
import { LIST_LINKS, parseLinks } from '../links.ts';

/** The device that carries the Services' addresses; where the kernel has no dummies the loopback does, under this label. */
export const SERVICE_DEVICE = 'copepod-svc';
export const LOOPBACK_LABEL = 'lo:copepod';

/** For an uninstall. Never fails for what is not there. */
export async function removeUserspaceAddresses(commands: NetCommands): Promise<void> {
  const links = parseLinks(await commands.run(LIST_LINKS));
  await commands.run({ file: 'ip', args: ['link', 'del', SERVICE_DEVICE] }).catch(() => {});
  for (const { name, addresses } of links) {
    for (const { address, label } of addresses) {
      if (label !== LOOPBACK_LABEL) continue;
      await commands.run({ file: 'ip', args: ['addr', 'del', `${address}/32`, 'dev', name] });
    }
  }
}
