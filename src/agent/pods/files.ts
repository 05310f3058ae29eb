import type { Pod } from '../../api/types/core-v1.ts';

/** The small files of a pod beside its volumes. On disk in production, in memory in the simulation. */
export interface PodFiles {
  /** Makes the pod's directory, hosts and resolv.conf; returns where containers mount them from. */
  prepare(pod: Pod): Promise<void>;
  /** Fills in the addresses that the network gave. */
  writeHosts(pod: Pod, ips: readonly string[]): Promise<void>;
  paths(podUid: string): { hosts: string; resolvConf: string };
  /** An empty file for one instance to leave its last words in. */
  createTerminationLog(podUid: string, container: string, attempt: number): Promise<string>;
  /** What the instance left, at most 4096 bytes; empty when nothing. */
  readTerminationLog(podUid: string, container: string, attempt: number): Promise<string>;
  /** Remembers the network attachment of a sandbox across a restart of the agent (not of the machine). */
  saveNetwork(podUid: string, network: { sandboxId: string; ips: string[] }): Promise<void>;
  loadNetwork(podUid: string): Promise<{ sandboxId: string; ips: string[] } | undefined>;
  /** /var/log/pods and /var/log/containers links to the engine's log file. */
  linkLogs(pod: Pod, container: string, attempt: number, containerId: string): Promise<void>;
  /** Removes the instance's links and termination log, and directories that are empty then. */
  unlinkLogs(
    pod: { namespace: string; name: string; uid: string },
    container: string,
    attempt: number,
    containerId: string,
  ): Promise<void>;
  /** Removes all links that are left of a pod's logs, whoever should have removed them (a crash came in between). */
  removeLogs(podUid: string): Promise<void>;
  /** The content of a seccomp profile of this node, by its path below the directory of profiles. Rejects when there is none. */
  seccompProfile(name: string): Promise<string>;
  logPath(pod: Pod, container: string, attempt: number): string;
}

export const LONGEST_TERMINATION_MESSAGE = 4096;
