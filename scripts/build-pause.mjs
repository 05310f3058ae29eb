// Compiles src/agent/docker/pause/pause.c for each architecture and writes the binaries as base64 into
// src/agent/docker/pause/binaries.ts, which is committed: a build needs no cross compiler. Run it after changing
// pause.c, and raise PAUSE_VERSION in src/agent/docker/pause.ts then.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../src/agent/docker/pause/', import.meta.url));

const TARGETS = [
  { arch: 'x64', prefix: 'x86_64-linux-gnu-', package: 'gcc', flags: [] },
  { arch: 'arm64', prefix: 'aarch64-linux-gnu-', package: 'gcc-aarch64-linux-gnu', flags: [] },
  {
    arch: 'arm',
    prefix: 'arm-linux-gnueabihf-',
    package: 'gcc-arm-linux-gnueabihf',
    // Thumb keeps r7, the system call's number, as its frame pointer.
    flags: ['-marm', '-march=armv7-a+fp'],
  },
];

const FLAGS = [
  '-Os',
  '-nostdlib',
  '-static',
  '-ffreestanding',
  '-fno-stack-protector',
  '-fno-asynchronous-unwind-tables',
  '-fno-unwind-tables',
  '-fcf-protection=none',
  '-fno-pie',
  '-no-pie',
  '-Wall',
  '-Wextra',
  '-Werror',
  // One segment, aligned for kernels with 4, 16 (Raspberry Pi 5) and 64 KiB pages.
  '-Wl,-z,noseparate-code,-z,max-page-size=65536,--build-id=none,-s',
];

const work = mkdtempSync(join(tmpdir(), 'pause-'));
try {
  const lines = TARGETS.map((target) => {
    const output = join(work, target.arch);
    const flags = target.arch === 'x64' ? FLAGS : FLAGS.filter((flag) => !flag.startsWith('-fcf-'));
    try {
      execFileSync(
        `${target.prefix}gcc`,
        [...flags, ...target.flags, '-o', output, join(folder, 'pause.c')],
        {
          stdio: ['ignore', 'inherit', 'inherit'],
        },
      );
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
      throw new Error(`${target.prefix}gcc is missing: apt-get install ${target.package}`);
    }
    execFileSync(`${target.prefix}objcopy`, [
      '-R',
      '.comment',
      '-R',
      '.ARM.attributes',
      '-R',
      '.note*',
      output,
    ]);
    const binary = readFileSync(output);
    console.log(`${target.arch}: ${binary.length} bytes`);
    return `  ${target.arch}: '${binary.toString('base64')}',`;
  });
  writeFileSync(
    join(folder, 'binaries.ts'),
    `// Written by scripts/build-pause.mjs from pause.c; do not edit.\nexport const PAUSE_BINARIES = {\n${lines.join('\n')}\n} as const;\n`,
  );
} finally {
  rmSync(work, { recursive: true, force: true });
}
