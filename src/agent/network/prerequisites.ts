import { BoardRules } from './board-rules.ts';
import { CommandError, type NetCommands, nftScript } from './commands.ts';

/** One line of `copepod check`. */
export interface NetworkFinding {
  subject: string;
  /** `warning`: pods run, something named in the message does not. */
  severity: 'ok' | 'warning' | 'error';
  message: string;
}

const PROGRAMS: {
  file: string;
  args: string[];
  package: string;
  severity: 'warning' | 'error';
  without: string;
}[] = [
  { file: 'ip', args: ['-V'], package: 'iproute2', severity: 'error', without: 'pods get no network' },
  {
    file: 'nsenter',
    args: ['--version'],
    package: 'util-linux',
    severity: 'error',
    without: 'pods get no network',
  },
  {
    file: 'nft',
    args: ['--version'],
    package: 'nftables',
    severity: 'error',
    without: 'Services, hostPorts and the way out of pods do not work',
  },
];

/** What this board lacks for the pod network, and how to get it. Changes nothing. */
export async function networkPrerequisites(commands: NetCommands): Promise<NetworkFinding[]> {
  const findings: NetworkFinding[] = [];
  for (const program of PROGRAMS) {
    try {
      const version = await commands.run({ file: program.file, args: program.args });
      findings.push({ subject: program.file, severity: 'ok', message: version.trim().split('\n')[0] ?? '' });
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      findings.push({
        subject: program.file,
        severity: program.severity,
        message: `${error.missing ? 'not installed' : error.message}: ${program.without}; apt-get install ${program.package}`,
      });
    }
  }
  if (findings.every((finding) => finding.severity === 'ok')) findings.push(await kernelFinding(commands));
  return findings;
}

/**
 * Why nftables cannot be had on this board; undefined: it can. `nft -c` has the kernel judge the table without keeping it:
 * a module that is missing shows here. A kernel that is too busy to answer is no reason.
 */
export async function nftRefusal(commands: NetCommands): Promise<string | undefined> {
  const rules = new BoardRules();
  rules.update({
    nodeName: 'check',
    clusterCidr: '10.42.0.0/16',
    serviceCidr: '10.43.0.0/16',
    hostPorts: [],
    services: [
      {
        v: 1,
        namespace: 'check',
        name: 'check',
        type: 'ClusterIP',
        clusterIPs: ['10.43.0.1'],
        ports: [
          {
            name: '',
            protocol: 'TCP',
            port: 80,
            endpoints: [
              { ip: '10.42.0.2', port: 80, node: 'check' },
              { ip: '10.42.0.3', port: 80, node: 'check' },
            ],
          },
        ],
      },
    ],
  });
  const { args, ...rest } = nftScript(rules.whole());
  try {
    await commands.run({ ...rest, args: ['-c', ...args] });
    return undefined;
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    if (error.missing) return 'nft is not installed (apt-get install nftables)';
    if (error.timedOut) return undefined;
    return `the kernel refuses our rules (needs Linux 5.6 or newer with nf_tables, nft_nat, nft_fib_ipv4, nft_numgen, or not root): ${error.stderr.trim().split('\n')[0]}`;
  }
}

async function kernelFinding(commands: NetCommands): Promise<NetworkFinding> {
  const refusal = await nftRefusal(commands);
  return refusal === undefined
    ? { subject: 'nftables', severity: 'ok', message: 'the kernel takes our rules' }
    : { subject: 'nftables', severity: 'error', message: refusal };
}
