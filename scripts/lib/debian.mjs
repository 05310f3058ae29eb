// What the scripts install of Debian's packages, and how they know that it is needed.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** A program, where it may lie (not everything is on an ordinary PATH) and the package that brings it. */
const PROGRAMS = {
  dockerd: { package: 'docker.io', purpose: 'the Docker Engine, which runs the containers' },
  nft: { package: 'nftables', purpose: 'Services and ports of pods' },
  ip: { package: 'iproute2', purpose: "the pods' network" },
  iptables: { package: 'iptables', purpose: 'Docker Engine wants it at hand' },
  kubectl: { package: 'kubernetes-client', purpose: 'the Kubernetes command line' },
  chromium: { package: 'chromium', purpose: 'the tests of the dashboard' },
  'qemu-aarch64-static': { package: 'qemu-user-static', purpose: 'the tests of the bundles for ARM boards' },
  unshare: { package: 'util-linux', purpose: 'the tests with several boards' },
};

const PLACES = [
  ...(process.env.PATH ?? '').split(':'),
  '/usr/local/sbin',
  '/usr/sbin',
  '/sbin',
  '/usr/local/bin',
  '/usr/bin',
  '/bin',
];

export function findProgram(name) {
  return PLACES.filter((folder) => folder !== '')
    .map((folder) => `${folder}/${name}`)
    .find(existsSync);
}

export const missingPrograms = (names) => names.filter((name) => findProgram(name) === undefined);

/** What a person without root has to type. */
export const installCommand = (names) =>
  `apt-get install -y ${[...new Set(names.map((name) => PROGRAMS[name].package))].join(' ')}`;

/**
 * Installs what is missing of `names`, saying so. Throws with the command to type when this is not possible. What was
 * there before is not touched.
 */
export function installPrograms(names, say) {
  const missing = missingPrograms(names);
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0) {
    throw new Error(`${missing.join(', ')} missing; type: sudo ${installCommand(missing)}`);
  }
  if (findProgram('apt-get') === undefined) {
    throw new Error(
      `${missing.join(', ')} missing, and this is not Debian: install them with your own package manager`,
    );
  }
  for (const name of missing) {
    say(`installing Debian's package ${PROGRAMS[name].package}: ${PROGRAMS[name].purpose}`);
  }
  const packages = [...new Set(missing.map((name) => PROGRAMS[name].package))];
  const apt = (...args) =>
    execFileSync('apt-get', args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
  const install = () => apt('install', '--yes', '--no-install-recommends', ...packages);
  try {
    try {
      install();
    } catch {
      apt('update');
      install();
    }
  } catch (error) {
    throw new Error(
      `apt-get install ${packages.join(' ')} failed: ${error.stderr?.toString().trim() || error.message}`,
    );
  }
  const still = missingPrograms(names);
  if (still.length > 0) throw new Error(`${still.join(', ')} still missing after ${installCommand(missing)}`);
}
