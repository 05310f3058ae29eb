import type { NetCommand, NetCommands } from './commands.ts';
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

export class ForwardRules {
  private readonly commands: NetCommands;
  private variants: string[] | undefined;
  private readonly written = new Map<string, string>();

  constructor(commands: NetCommands) {
    this.commands = commands;
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
  }

  async cleanup(): Promise<void> {
    for (const name of await this.installed()) {
      // Each may be gone already.
      await this.succeeds({ file: name, args: [...LOCK, '-D', ...JUMP] });
      await this.succeeds({ file: name, args: [...LOCK, '-F', CHAIN] });
      await this.succeeds({ file: name, args: [...LOCK, '-X', CHAIN] });
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
