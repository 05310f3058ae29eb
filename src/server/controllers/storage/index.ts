import type { Service } from '../../../lib/service.ts';
import type { ControllerContext } from '../context.ts';
import { claimBinder, volumeBinder } from './binder.ts';
import { ephemeralVolumeController } from './ephemeral.ts';
import { volumeExpander } from './expand.ts';
import { localPathDeleter, localPathProvisioner } from './local-path.ts';
import { claimProtection, volumeProtection } from './protection.ts';
import { withoutLocalPath } from './without-local-path.ts';

/** Volumes that were made before it was disabled are still deleted with their claims. */
const localStorage = (context: ControllerContext): Service =>
  context.disabled?.has('local-storage') ? withoutLocalPath(context) : localPathProvisioner(context);

export const STORAGE_CONTROLLERS: readonly ((context: ControllerContext) => Service)[] = [
  claimBinder,
  volumeBinder,
  claimProtection,
  volumeProtection,
  volumeExpander,
  ephemeralVolumeController,
  localStorage,
  localPathDeleter,
];
