import { ipBatch, ipBatchIn, type NetCommand } from './commands.ts';
import { aliasOf, BRIDGE, macOf, POD_INTERFACE, vethName } from './links.ts';

export interface Attachment {
  podUid: string;
  /** A process in the pod's network namespace, in this process's pid namespace. */
  pid: number;
  ip: string;
  gateway: string;
  mtu: number;
}

/**
 * Pairs of interfaces: one run in the board's namespace for all, and one in each pod's, because a pod's start time has a
 * budget. The far end is born in the pod's namespace under its final name, nothing is moved or renamed. Hairpin is for
 * boards on which br_netfilter is on: there a Service's packet back to its own pod is bridged, and has to leave by the
 * port it came from.
 */
export function attachCommands(attachments: readonly Attachment[]): NetCommand[] {
  return [
    ipBatch(
      attachments.flatMap(({ podUid, pid, ip, mtu }) => [
        `link add ${vethName(podUid)} mtu ${mtu} master ${BRIDGE} up type veth peer name ${POD_INTERFACE} address ${macOf(ip)} mtu ${mtu} netns ${pid}`,
        `link set ${vethName(podUid)} alias ${aliasOf(podUid, ip)} type bridge_slave hairpin on`,
      ]),
    ),
    ...attachments.map(({ pid, ip, gateway }) =>
      ipBatchIn(pid, [
        'link set lo up',
        `addr add ${ip}/32 dev ${POD_INTERFACE}`,
        `link set ${POD_INTERFACE} up`,
        `route add ${gateway} dev ${POD_INTERFACE} scope link`,
        `route add default via ${gateway} dev ${POD_INTERFACE}`,
      ]),
    ),
  ];
}

/** Removes both ends of each, also while a pod's namespace is still going away; goes on where one is gone already. */
export function detachCommands(podUids: readonly string[]): NetCommand {
  const lines = podUids.map((uid) => `link del ${vethName(uid)}\n`);
  return { file: 'ip', args: ['-force', '-batch', '-'], stdin: lines.join('') };
}

export function listPodAddresses(pid: number): NetCommand {
  return {
    file: 'nsenter',
    args: ['-t', String(pid), '-n', 'ip', '-json', '-4', 'addr', 'show', 'dev', POD_INTERFACE],
  };
}
