// An image for the examples and the tests where no registry can be reached: Debian's busybox-static with a link for
// each of its commands, as `copepod.local/busybox`.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasImage, importImage } from './docker-api.mjs';

export const BUSYBOX_IMAGE = 'copepod.local/busybox:latest';

/** Imports the image into the engine unless it has it. `say` hears of what takes time. */
export async function ensureBusyboxImage(socket, say = () => {}) {
  if (await hasImage(socket, BUSYBOX_IMAGE)) return;
  say(`making the image ${BUSYBOX_IMAGE} from Debian's busybox-static`);
  await importImage(socket, busyboxTar(busyboxBinary(say)), BUSYBOX_IMAGE, [
    'ENV PATH=/bin',
    'CMD ["sh"]',
    'LABEL org.opencontainers.image.title="busybox-static of Debian"',
  ]);
}

/** This machine's statically linked busybox; where there is none, the one of Debian's package, which is not installed. */
function busyboxBinary(say) {
  for (const path of ['/bin/busybox', '/usr/bin/busybox']) {
    if (existsSync(path) && isStatic(readFileSync(path))) return { bytes: readFileSync(path), path };
  }
  // Installing it would remove Debian's `busybox`, which an initramfs may need: only look into the package.
  say("fetching Debian's package busybox-static");
  const folder = mkdtempSync(join(tmpdir(), 'copepod-busybox-'));
  try {
    const run = (command, args) =>
      execFileSync(command, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
    try {
      run('apt-get', ['download', 'busybox-static']);
    } catch {
      run('apt-get', ['update']);
      run('apt-get', ['download', 'busybox-static']);
    }
    const archive = readdirSync(folder).find((name) => name.endsWith('.deb'));
    run('dpkg-deb', ['-x', archive, '.']);
    const path = ['bin/busybox', 'usr/bin/busybox'].map((name) => join(folder, name)).find(existsSync);
    return { bytes: readFileSync(path), applets: applets(path) };
  } catch (error) {
    throw new Error(
      `cannot get Debian's busybox-static: ${error.stderr?.toString().trim() || error.message}`,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const applets = (path) => execFileSync(path, ['--list'], { encoding: 'utf8' }).trim().split('\n');

/** An ELF file without PT_INTERP, that is, without a dynamic linker. */
function isStatic(elf) {
  if (elf.readUInt32BE(0) !== 0x7f454c46) return false;
  const wide = elf[4] === 2;
  const offset = wide ? Number(elf.readBigUInt64LE(32)) : elf.readUInt32LE(28);
  const size = elf.readUInt16LE(wide ? 54 : 42);
  const count = elf.readUInt16LE(wide ? 56 : 44);
  for (let index = 0; index < count; index += 1) {
    if (elf.readUInt32LE(offset + index * size) === 3) return false;
  }
  return true;
}

function busyboxTar({ bytes, path, applets: names = applets(path) }) {
  const entries = [
    directory('bin/'),
    directory('etc/'),
    directory('root/', 0o700),
    directory('tmp/', 0o1777),
    directory('var/'),
    directory('var/www/'),
    file('bin/busybox', bytes, 0o755),
    file(
      'etc/passwd',
      Buffer.from('root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n'),
    ),
    file('etc/group', Buffer.from('root:x:0:\nnobody:x:65534:\n')),
    ...names.filter((name) => name !== 'busybox').map((name) => link(`bin/${name}`, 'busybox')),
  ];
  return Buffer.concat([...entries.flat(), Buffer.alloc(1024)]);
}

const directory = (name, mode = 0o755) => [header({ name, mode, type: '5', size: 0 })];
const link = (name, target) => [header({ name, mode: 0o777, type: '2', size: 0, target })];
const file = (name, bytes, mode = 0o644) => [
  header({ name, mode, type: '0', size: bytes.length }),
  bytes,
  Buffer.alloc((512 - (bytes.length % 512)) % 512),
];

/** A POSIX ustar header. The time is fixed: the same busybox makes the same image on every machine. */
function header({ name, mode, type, size, target = '' }) {
  const block = Buffer.alloc(512);
  const octal = (value, offset, length) =>
    block.write(value.toString(8).padStart(length - 1, '0'), offset, 'ascii');
  block.write(name, 0, 100);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(1_767_225_600, 136, 12);
  block.fill(' ', 148, 156);
  block.write(type, 156);
  block.write(target, 157, 100);
  block.write('ustar\x0000', 257, 'latin1');
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  return block;
}
