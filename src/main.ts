import { parseArguments, UsageError } from './cli/arguments.ts';
import { type Command, commands, findCommand, flagShapes, ownerOfFlag } from './cli/commands.ts';
import { explain, isDefect } from './cli/explain.ts';
import { nearest } from './config/nearest.ts';
import { ConfigError, type ConfigSources, environmentName } from './config/resolve.ts';
import type { Logger } from './lib/logger.ts';
import type { Service } from './lib/service.ts';

// argv -> mode. Signals come first: one during the start must find somebody who stops what has begun.
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    // The second Ctrl-C is for those who cannot wait; the store bears it (an acknowledged write is on disk).
    if (stopping.signal.aborted && signal === 'SIGINT') process.exit(130);
    stopping.abort(signal);
  });
}

// A log that nobody reads any more (a closed pipe or terminal) is no reason to stop.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

/** What a command is given. */
interface Invocation {
  sources: ConfigSources;
  operands: string[];
}

// Imported when run: `copepod version` must not load a server, an agent not the server.
const RUN: Record<string, (invocation: Invocation) => Promise<number>> = {
  server: async ({ sources }) => {
    const { resolveServerConfig } = await import('./config/config.ts');
    const { config, warnings } = resolveServerConfig(sources);
    const { requireMachine } = await import('./cli/requirements.ts');
    await requireMachine({
      dataDir: config.dataDir,
      ...(config.disableAgent ? {} : { dockerHost: config.dockerHost }),
    });
    const logger = await makeLogger(config.logLevel, warnings);
    await keepCompiledCode(config.dataDir);
    return live(logger, async (deps) => {
      const { createServer } = await import('./server/server.ts');
      const server = await createServer(config, deps);
      if (config.disableAgent) return [server];
      const { createAgent } = await import('./agent/agent.ts');
      // The role that `kubectl get nodes` shows; the value is k3s's. A label of the user's own comes after it.
      const role = { key: 'node-role.kubernetes.io/control-plane', value: 'true' };
      const nodeLabels = [role, ...config.nodeLabels];
      return [server, await createAgent({ ...config, ...server.local, nodeLabels }, deps)];
    });
  },

  agent: async ({ sources }) => {
    const { resolveAgentConfig } = await import('./config/config.ts');
    const { config, warnings } = resolveAgentConfig(sources);
    const { requireMachine } = await import('./cli/requirements.ts');
    await requireMachine(config);
    const logger = await makeLogger(config.logLevel, warnings);
    await keepCompiledCode(config.dataDir);
    return live(logger, async (deps) => {
      const { createAgent } = await import('./agent/agent.ts');
      return [await createAgent(config, deps)];
    });
  },

  token: async ({ sources, operands }) => {
    const [
      { resolveSettings },
      { agentSettings, serverSettings, tokenSettings },
      { runToken },
      { SystemClock },
      { SystemRandom },
    ] = await Promise.all([
      import('./config/resolve.ts'),
      import('./config/settings.ts'),
      import('./cli/token.ts'),
      import('./lib/clock.ts'),
      import('./lib/random.ts'),
    ]);
    const others = { ...agentSettings, ...serverSettings };
    const { values } = resolveSettings(tokenSettings, others, sources);
    const tools = { clock: new SystemClock(), random: new SystemRandom() };
    process.stdout.write(await runToken(operands, values, tools));
    return 0;
  },

  'secrets-encrypt': async ({ sources, operands: [action] }) => {
    if (action !== 'status' && action !== 'rotate') throw new UsageError('expected status or rotate');
    const [{ resolveServerConfig }, { secretsEncrypt }, { SystemClock }, { SystemRandom }] =
      await Promise.all([
        import('./config/config.ts'),
        import('./server/server.ts'),
        import('./lib/clock.ts'),
        import('./lib/random.ts'),
      ]);
    const { dataDir } = resolveServerConfig(sources).config;
    const { text, code } = secretsEncrypt(action, dataDir, new SystemClock(), new SystemRandom());
    process.stdout.write(text);
    return code;
  },

  check: async ({ sources }) => {
    const { resolveServerConfig } = await import('./config/config.ts');
    const { config } = resolveServerConfig(sources);
    const { thisMachine } = await import('./cli/check/machine.ts');
    const { checkMachine } = await import('./cli/check/report.ts');
    const { SystemClock } = await import('./lib/clock.ts');
    const ports = [
      { flag: 'https-listen-port', port: config.httpsListenPort },
      { flag: 'mqtt-listen-port', port: config.mqttListenPort },
    ];
    const ingressPorts = [
      { flag: 'ingress-http-port', port: config.ingressHttpPort },
      { flag: 'ingress-https-port', port: config.ingressHttpsPort },
    ];
    const target = { ...config, ports, ingressPorts };
    const complete = await checkMachine(thisMachine(new SystemClock()), target, (text) =>
      process.stdout.write(text),
    );
    return complete ? 0 : 1;
  },

  cleanup: async ({ sources }) => {
    const [{ resolveServerConfig }, { SystemClock }, { cleanUpBoard }] = await Promise.all([
      import('./config/config.ts'),
      import('./lib/clock.ts'),
      import('./agent/agent.ts'),
    ]);
    const said = sources.flags.findLast(({ flag }) => flag === 'yes')?.value;
    const flags = sources.flags.filter(({ flag }) => flag !== 'yes');
    const { config } = resolveServerConfig({ ...sources, flags });
    const deps = { clock: new SystemClock(), logger: await makeLogger('warn', []) };
    const { text, complete } = await cleanUpBoard({ ...config, remove: said === 'true' }, deps);
    process.stdout.write(text);
    return complete ? 0 : 1;
  },

  config: async ({ sources }) => {
    const { resolveServerConfig } = await import('./config/config.ts');
    const { config, warnings } = resolveServerConfig(sources);
    for (const warning of warnings) process.stderr.write(`copepod: ${warning}\n`);
    const shown = { ...config, token: config.token === undefined ? undefined : '(set)' };
    process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`);
    return 0;
  },

  version: async () => {
    const { versionText } = await import('./cli/version.ts');
    process.stdout.write(versionText());
    return 0;
  },

  help: async ({ operands }) => {
    const [name] = operands;
    return help(name === undefined ? undefined : commandNamed(name));
  },
};

type Dependencies = Parameters<typeof import('./server/server.ts').createServer>[1];

/** Starts services in order, waits for a signal, stops them in reverse. Resolves to the exit code. */
async function live(logger: Logger, compose: (deps: Dependencies) => Promise<Service[]>): Promise<number> {
  const [{ SystemClock }, { SystemRandom }, { ServiceGroup }, { VERSION }] = await Promise.all([
    import('./lib/clock.ts'),
    import('./lib/random.ts'),
    import('./lib/service.ts'),
    import('./cli/version.ts'),
  ]);
  // Node 24 cuts short Buffers from slabs of 64 kB, and one that is kept keeps its slab. 8 kB is what Node 20 has.
  Buffer.poolSize = 8 * 1024;
  process.on('unhandledRejection', (error) => crash(logger, error));
  process.on('uncaughtException', (error) => crash(logger, error));
  const services = await compose({
    logger,
    clock: new SystemClock(),
    random: new SystemRandom(),
    version: VERSION,
  });
  const group = new ServiceGroup(services);
  await group.start();
  if (!stopping.signal.aborted) {
    await new Promise((resolve) => stopping.signal.addEventListener('abort', resolve, { once: true }));
  }
  logger.info({ signal: stopping.signal.reason }, 'stopping; pods go on running');
  await group.stop();
  logger.info({}, 'stopped');
  return 0;
}

/**
 * What V8 compiles is kept beside the data (under 1 MB, written once per version): the next start takes 4 MB of memory and
 * a fifth of the loading time less. Node before 22.8 cannot, and does without.
 */
async function keepCompiledCode(dataDir: string): Promise<void> {
  const { enableCompileCache } = (await import('node:module')) as {
    enableCompileCache?: (folder: string) => unknown;
  };
  enableCompileCache?.(`${dataDir}/compiled`);
}

/** A defect: the state in memory can no longer be trusted, the one on disk can. Whoever supervises starts us again. */
function crash(logger: Logger, error: unknown): void {
  logger.error({ error }, isDefect(error) ? 'unexpected failure, ending' : explain(error));
  process.exit(1);
}

async function makeLogger(
  level: 'debug' | 'info' | 'warn' | 'error',
  warnings: readonly string[],
): Promise<Logger> {
  const [{ createLogger }, { SystemClock }] = await Promise.all([
    import('./cli/logger.ts'),
    import('./lib/clock.ts'),
  ]);
  const logger = createLogger({
    level,
    clock: new SystemClock(),
    readable: process.stderr.isTTY,
    write: (line) => process.stderr.write(line),
  });
  for (const warning of warnings) logger.warn({}, warning);
  return logger;
}

async function help(command: Command | undefined): Promise<number> {
  const { commandHelp, programHelp } = await import('./cli/help.ts');
  process.stdout.write(command ? commandHelp(command) : programHelp(commands));
  return 0;
}

function commandNamed(name: string): Command {
  const command = findCommand(name);
  if (command) return command;
  const guess = nearest(
    name,
    commands.map((candidate) => candidate.name),
  );
  throw new UsageError(`unknown command ${name}${guess ? `, did you mean ${guess}?` : ''}`);
}

async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === '-h' || name === '--help') return help(undefined);
  const command = commandNamed(name === '--version' ? 'version' : name);
  const parsed = parseArguments(rest, flagShapes(command), ownerOfFlag);
  if (parsed.help) return help(command);
  const extra = parsed.operands[command.operands];
  if (extra !== undefined) throw new UsageError(`unexpected argument ${JSON.stringify(extra)}`);
  const run = RUN[command.name];
  if (!run) throw new Error(`command ${command.name} has no implementation`);
  return run({ sources: await configSources(command, parsed.flags), operands: parsed.operands });
}

async function configSources(command: Command, flags: ConfigSources['flags']): Promise<ConfigSources> {
  const sources: ConfigSources = { flags, environment: process.env };
  const setting = command.settings?.config;
  if (!setting) return sources;
  const named =
    flags.findLast(({ flag }) => flag === setting.flag)?.value || process.env[environmentName(setting.flag)];
  const { readConfigFile } = await import('./config/file.ts');
  const file = await readConfigFile(named || String(setting.default), Boolean(named));
  return file ? { ...sources, file } : sources;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const usage = error instanceof UsageError;
  process.stderr.write(
    `copepod: ${explain(error)}${usage ? ' (`copepod help` lists commands and flags)' : ''}\n`,
  );
  const understood = usage || error instanceof ConfigError;
  if (isDefect(error)) process.stderr.write(`${(error as Error).stack}\n`);
  process.exit(understood ? 2 : 1);
}
// Nothing is left to do; a forgotten handle must not keep a stopped process alive.
process.exit();
