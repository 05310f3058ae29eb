import type { Logger } from '../lib/logger.ts';
import { isPauseArchitecture, pauseImage } from './docker/pause.ts';
import type { SandboxImage } from './pods/services.ts';
import type { ContainerRuntime } from './runtime.ts';

/** Our own pause image out of the bundle, imported where the engine does not have it. Throws on an unknown architecture. */
export function bundledSandboxImage(runtime: ContainerRuntime, logger: Logger, arch: string): SandboxImage {
  if (!isPauseArchitecture(arch)) throw new Error(`no sandbox image for the architecture ${arch}`);
  const { tar, reference, entrypoint } = pauseImage(arch);
  let importing: Promise<void> | undefined;
  const ensure = async (): Promise<void> => {
    if (await runtime.imageId(reference)) return;
    logger.info({ image: reference }, 'importing the sandbox image');
    await runtime.importImage(tar, reference, { entrypoint });
  };
  return {
    reference,
    // Many pods may find it missing at once.
    ensure: () => {
      importing ??= ensure().finally(() => {
        importing = undefined;
      });
      return importing;
    },
  };
}
