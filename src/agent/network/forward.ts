import { CommandError, type NetCommand, type NetCommands } from './commands.ts';
import { BRIDGE } from './links.ts';

const CHAIN = 'COPEPOD-FORWARD';
const JUMP = ['FORWARD', '-j', CHAIN];
/** Other programs hold the lock of iptables for a moment; seconds. */
const LOCK = ['-w', '5'];

/**
 * Docker sets the policy of the FORWARD chain of iptables to DROP, and an accept in our own nftables table does not
 * override a drop elsewhere: pod traffic has to be accepted in that very chain. What NetworkPolicy denies is dropped in
 * our table all the same.
 */
export function acceptScript(clusterCidr: string | undefined, insertJump: boolean): string {
  const rules = [`-i ${BRIDGE}`, `-o ${BRIDGE}`];
  // A NodePort whose endpoint is on another board comes in and goes out by the wire.
  if (clusterCidr) rules.push(`-s ${clusterCidr}`, `-d ${clusterCidr}`);
  return [
    '*filter',
    // Declaring a chain empties it, and leaves the others alone with --noflush.
    `:${CHAIN} - [0:0]`,
    ...rules.map((rule) => `-A ${CHAIN} ${rule} -j ACCEPT`),
    // A Service of endpoints outside the pod network (host network, external addresses).
    `-A ${CHAIN} -m mark --mark 0x4000/0x4000 -j ACCEPT`,
    `-A ${CHAIN} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
    ...(insertJump ? [`-I ${JUMP.join(' ')}`] : []),
    'COMMIT',
    '',
  ].join('\n');
}

const NAT_CHAIN = 'COPEPOD-POSTROUTING';
const NAT_JUMP = ['POSTROUTING', '-j', NAT_CHAIN];

/** For a board without nftables: what leaves the cluster leaves with the board's address. */
export function masqueradeScript(clusterCidr: string, insertJump: boolean): string {
  return [
    '*nat',
    `:${NAT_CHAIN} - [0:0]`,
    `-A ${NAT_CHAIN} -d 224.0.0.0/4 -j RETURN`,
    `-A ${NAT_CHAIN} -s ${clusterCidr} ! -d ${clusterCidr} ! -o ${BRIDGE} -j MASQUERADE`,
    ...(insertJump ? [`-I POSTROUTING -j ${NAT_CHAIN}`] : []),
    'COMMIT',
    '',
  ].join('\n');
}

export class ForwardRules {
  private readonly commands: NetCommands;
  private variants: string[] | undefined;
  private readonly written = new Map<string, string>();
  private onProblem: ((problem: string) => void) | undefined;
  private problem = '';
  private masqueraded = '';

  constructor(commands: NetCommands) {
    this.commands = commands;
  }

  /** Masquerades by iptables from now on. `onProblem` is told once why that is not possible, and what to do. */
  masquerade(onProblem: (problem: string) => void): void {
    this.onProblem = onProblem;
  }

  /** Idempotent, and cheap when nothing is amiss. Without iptables there is no such chain. Throws CommandError. */
  async ensure(clusterCidr: string | undefined): Promise<void> {
    for (const name of await this.installed()) {
      const present = await this.succeeds({ file: name, args: [...LOCK, '-C', ...JUMP] });
      const rules = acceptScript(clusterCidr, false);
      if (present && this.written.get(name) === rules) continue;
      await this.commands.run({
        file: `${name}-restore`,
        args: [...LOCK, '--noflush'],
        stdin: acceptScript(clusterCidr, !present),
      });
      this.written.set(name, rules);
    }
    if (this.onProblem && clusterCidr) await this.ensureMasquerade(clusterCidr);
  }

  private async ensureMasquerade(clusterCidr: string): Promise<void> {
    const check = { file: 'iptables', args: [...LOCK, '-t', 'nat', '-C', ...NAT_JUMP] };
    const present = await this.succeeds(check);
    if (present && this.masqueraded === clusterCidr) return;
    try {
      await this.commands.run({
        file: 'iptables-restore',
        args: [...LOCK, '--noflush'],
        stdin: masqueradeScript(clusterCidr, !present),
      });
      this.masqueraded = clusterCidr;
      this.problem = '';
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      const problem = error.missing
        ? 'neither nftables nor iptables is installed: apt-get install nftables'
        : `iptables cannot masquerade (${error.stderr.trim().split('\n')[0]}): modprobe iptable_nat, or a kernel with nf_nat`;
      if (problem !== this.problem) this.onProblem?.(problem);
      this.problem = problem;
    }
  }

  async cleanup(): Promise<void> {
    for (const name of await this.installed()) {
      // Each may be gone already.
      await this.succeeds({ file: name, args: [...LOCK, '-D', ...JUMP] });
      await this.succeeds({ file: name, args: [...LOCK, '-F', CHAIN] });
      await this.succeeds({ file: name, args: [...LOCK, '-X', CHAIN] });
      if (name !== 'iptables') continue;
      await this.succeeds({ file: name, args: [...LOCK, '-t', 'nat', '-D', ...NAT_JUMP] });
      await this.succeeds({ file: name, args: [...LOCK, '-t', 'nat', '-F', NAT_CHAIN] });
      await this.succeeds({ file: name, args: [...LOCK, '-t', 'nat', '-X', NAT_CHAIN] });
    }
  }

  /**
   * iptables exists twice, over nftables and over the kernel's old tables, and a packet passes both. Docker uses what
   * `iptables` stands for; the other one matters when something uses it in this namespace. It is not asked otherwise:
   * asking iptables-legacy creates its tables.
   */
  private async installed(): Promise<string[]> {
    if (this.variants) return this.variants;
    let version: string;
    try {
      version = await this.commands.run({ file: 'iptables', args: ['-V'] });
    } catch {
      return [];
    }
    const variants = ['iptables'];
    if (version.includes('nf_tables')) {
      const legacy = await this.commands.read('/proc/net/ip_tables_names');
      const used = legacy?.split('\n').includes('filter') ?? false;
      if (used && (await this.succeeds({ file: 'iptables-legacy', args: ['-V'] })))
        variants.push('iptables-legacy');
    } else if (await this.succeeds({ file: 'nft', args: ['list', 'chain', 'ip', 'filter', 'FORWARD'] })) {
      if (await this.succeeds({ file: 'iptables-nft', args: ['-V'] })) variants.push('iptables-nft');
    }
    this.variants = variants;
    return variants;
  }

  private async succeeds(command: NetCommand): Promise<boolean> {
    try {
      await this.commands.run(command);
      return true;
    } catch {
      return false;
    }
  }
}
