import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { findProgram } from '../../scripts/lib/debian.mjs';

interface Machine {
  emulator: string;
  /** Where Debian's cross packages put the libraries of that architecture; no foreign architecture in dpkg is needed. */
  sysroot: string;
  /** Program or library -> package. */
  needs: Record<string, string>;
}

const MACHINES: Record<'arm64' | 'armv7', Machine> = {
  arm64: {
    emulator: 'qemu-aarch64-static',
    sysroot: '/usr/aarch64-linux-gnu',
    needs: {
      '/usr/aarch64-linux-gnu/lib/libc.so.6': 'libc6-arm64-cross',
      '/usr/aarch64-linux-gnu/lib/libstdc++.so.6': 'libstdc++6-arm64-cross',
      '/usr/aarch64-linux-gnu/lib/libgcc_s.so.1': 'libgcc-s1-arm64-cross',
      '/usr/aarch64-linux-gnu/lib/libatomic.so.1': 'libatomic1-arm64-cross',
    },
  },
  armv7: {
    emulator: 'qemu-arm-static',
    sysroot: '/usr/arm-linux-gnueabihf',
    needs: {
      '/usr/arm-linux-gnueabihf/lib/libc.so.6': 'libc6-armhf-cross',
      '/usr/arm-linux-gnueabihf/lib/libstdc++.so.6': 'libstdc++6-armhf-cross',
      '/usr/arm-linux-gnueabihf/lib/libgcc_s.so.1': 'libgcc-s1-armhf-cross',
      '/usr/arm-linux-gnueabihf/lib/libatomic.so.1': 'libatomic1-armhf-cross',
    },
  },
};

/** The words to put before a program of that kind of board; installs what is missing of Debian's packages when root. */
export function emulation(board: 'arm64' | 'armv7'): string[] {
  const { emulator, sysroot, needs } = MACHINES[board];
  const missing = Object.entries(needs)
    .filter(([file]) => !existsSync(file))
    .map(([, name]) => name);
  if (!findProgram(emulator)) missing.push('qemu-user-static');
  if (missing.length > 0) {
    const command = ['apt-get', 'install', '-y', '-q', '--no-install-recommends', ...missing];
    if (process.getuid?.() !== 0) throw new Error(`emulating ${board} needs: sudo ${command.join(' ')}`);
    execFileSync(command[0] as string, command.slice(1), {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      stdio: ['ignore', 'ignore', 'inherit'],
      timeout: 600_000,
    });
  }
  return [findProgram(emulator) as string, '-L', sysroot];
}
