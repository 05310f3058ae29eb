import { PAUSE_BINARIES } from './pause/binaries.ts';
import { tarOf } from './pause/tar.ts';

/** Raised with every change of pause.c: the reference names the content, so an image that is present is the right one. */
const PAUSE_VERSION = '1';

export type PauseArchitecture = keyof typeof PAUSE_BINARIES;

export interface PauseImage {
  /** `copepod.local/pause:<version>-<architecture>`; never pulled. */
  reference: string;
  /** The image's root file system as `docker import` takes it. */
  tar: Buffer;
  entrypoint: string[];
}

/** The sandbox image for `arch` (Node's `process.arch`). It is carried in the bundle: the first pod needs no registry. */
export function pauseImage(arch: PauseArchitecture): PauseImage {
  return {
    reference: `copepod.local/pause:${PAUSE_VERSION}-${arch}`,
    tar: tarOf([{ name: 'pause', mode: 0o555, data: Buffer.from(PAUSE_BINARIES[arch], 'base64') }]),
    entrypoint: ['/pause'],
  };
}

export function isPauseArchitecture(arch: string): arch is PauseArchitecture {
  return Object.hasOwn(PAUSE_BINARIES, arch);
}
