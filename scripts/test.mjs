// npm test
//
// Everything, on a machine with nothing installed by hand (Debian, root): packages, programs, then stage after stage,
// the cheap ones first. The last line is `N passed, N failed`. `npm run test:fast` is for while one works.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { root } from './lib/bundle.mjs';
import { installPrograms } from './lib/debian.mjs';
import { ensureDependencies, pinnedNode } from './lib/dependencies.mjs';

const MINUTE = 60_000;
const say = (line) => console.log(`test: ${line}`);

/** A step is a program that passes or fails as a whole, or vitest on some projects. */
const STAGES = [
  {
    name: 'check',
    steps: [
      { run: ['scripts/build.mjs', '--all'], limit: 10 * MINUTE },
      { bin: 'tsc', run: ['--noEmit'], limit: 5 * MINUTE },
      { bin: 'tsc', run: ['--noEmit', '-p', 'src/dashboard'], limit: 2 * MINUTE },
      { bin: 'biome', run: ['check', '.'], limit: 2 * MINUTE },
      { run: ['scripts/check-imports.mjs'], limit: MINUTE },
    ],
  },
  {
    name: 'unit, golden, contract, component',
    projects: ['unit', 'golden', 'contract', 'component'],
    limit: 9 * MINUTE,
  },
  { name: 'simulation', projects: ['simulation'], limit: 9 * MINUTE },
  { name: 'end-to-end', projects: ['e2e'], limit: 20 * MINUTE },
];

const PROGRAMS = [
  'dockerd',
  'iptables',
  'nft',
  'ip',
  'unshare',
  'kubectl',
  'chromium',
  'qemu-aarch64-static',
];

const total = { passed: 0, failed: 0, skipped: 0 };
const times = [];
const started = performance.now();
const reports = mkdtempSync(join(tmpdir(), 'copepod-test-'));

try {
  ensureDependencies(say);
  installPrograms(PROGRAMS, say);
  for (const stage of STAGES) {
    const begun = performance.now();
    say(`${stage.name} …`);
    await (stage.steps ? runSteps(stage.steps) : runVitest(stage));
    times.push([stage.name, performance.now() - begun]);
    if (total.failed > 0) {
      say(`${stage.name} failed: what comes after is not run`);
      break;
    }
  }
} catch (error) {
  total.failed += 1;
  say(error.message);
} finally {
  rmSync(reports, { recursive: true, force: true });
}

for (const [name, milliseconds] of times) say(`${seconds(milliseconds)}  ${name}`);
say(`${seconds(performance.now() - started)}  in all`);
const { passed, failed, skipped } = total;
// The last line: others read it.
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;

/** Every step of the stage is run, so that one look shows all that is wrong. */
async function runSteps(steps) {
  for (const { bin, run, limit } of steps) {
    const args = bin ? [join(root, 'node_modules/.bin', bin), ...run] : run;
    // biome's and tsc's entries are scripts of Node.
    const code = await execute([pinnedNode(), ...args], limit);
    if (code !== 0) {
      total.failed += 1;
      say(`${[bin ?? 'node', ...run].join(' ')} failed`);
    }
  }
}

async function runVitest({ name, projects, limit }) {
  const report = join(reports, `${projects[0]}.json`);
  const selection = projects.flatMap((project) => ['--project', project]);
  const code = await execute(
    [
      pinnedNode(),
      join(root, 'node_modules/vitest/vitest.mjs'),
      'run',
      ...selection,
      '--passWithNoTests',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${report}`,
    ],
    limit,
  );
  let result;
  try {
    result = JSON.parse(readFileSync(report, 'utf8'));
  } catch {
    total.failed += 1;
    say(`${name}: vitest ended with ${code} and left no report`);
    return;
  }
  total.passed += result.numPassedTests;
  total.skipped += result.numPendingTests + (result.numTodoTests ?? 0);
  // A file that cannot be loaded has no tests that could fail; nor has an error outside of a test.
  total.failed += Math.max(result.numFailedTests, code === 0 ? 0 : 1);
}

/** Resolves to the exit code; ends the program, and what it started, when it takes too long. */
function execute([command, ...args], limit) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
      detached: true,
      env: { ...process.env, PATH: [join(root, 'node_modules/.bin'), process.env.PATH].join(delimiter) },
    });
    const end = (signal) => {
      try {
        process.kill(-child.pid, signal);
      } catch {
        // It has ended.
      }
    };
    const timer = setTimeout(() => {
      say(`${args.join(' ')} takes longer than ${limit / MINUTE} minutes: ending it`);
      end('SIGTERM');
      setTimeout(() => end('SIGKILL'), 10_000).unref();
    }, limit);
    const interrupted = (signal) => {
      end(signal);
      process.exitCode = 130;
    };
    process.once('SIGINT', interrupted);
    process.once('SIGTERM', interrupted);
    child.on('error', (error) => {
      say(`${command}: ${error.message}`);
      resolve(1);
    });
    child.on('exit', (code) => {
      clearTimeout(timer);
      process.removeListener('SIGINT', interrupted);
      process.removeListener('SIGTERM', interrupted);
      resolve(code ?? 1);
    });
  });
}

function seconds(milliseconds) {
  return `${(milliseconds / 1000).toFixed(1).padStart(7)} s`;
}
