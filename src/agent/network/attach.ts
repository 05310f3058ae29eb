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
 * The pair of interfaces in two runs, because a pod's start time has a budget: the far end is born in the pod's
 * namespace under its final name, nothing is moved or renamed. Hairpin is for boards on which br_netfilter is on:
 * there a Service's packet back to its own pod is bridged, and has to leave by the port it came from.
 */
export function attachCommands(attachment: Attachment): NetCommand[] {
  const { podUid, pid, ip, gateway, mtu } = attachment;
  const veth = vethName(podUid);
  return [
    ipBatch([
      `link add ${veth} mtu ${mtu} master ${BRIDGE} up type veth peer name ${POD_INTERFACE} address ${macOf(ip)} mtu ${mtu} netns ${pid}`,
      `link set ${veth} alias ${aliasOf(podUid, ip)} type bridge_slave hairpin on`,
    ]),
    ipBatchIn(pid, [
      'link set lo up',
      `addr add ${ip}/32 dev ${POD_INTERFACE}`,
      `link set ${POD_INTERFACE} up`,
      `route add ${gateway} dev ${POD_INTERFACE} scope link`,
      `route add default via ${gateway} dev ${POD_INTERFACE}`,
    ]),
  ];
}

/** Removes both ends, also while the pod's namespace is still going away. */
export function detachCommand(podUid: string): NetCommand {
  return { file: 'ip', args: ['link', 'del', vethName(podUid)] };
}

export function listPodAddresses(pid: number): NetCommand {
  return {
    file: 'nsenter',
    args: ['-t', String(pid), '-n', 'ip', '-json', '-4', 'addr', 'show', 'dev', POD_INTERFACE],
  };
}
