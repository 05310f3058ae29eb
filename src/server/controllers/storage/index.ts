import type { Service } from '../../../lib/service.ts';
import type { ControllerContext } from '../context.ts';
import { claimBinder, volumeBinder } from './binder.ts';
import { ephemeralVolumeController } from './ephemeral.ts';
import { volumeExpander } from './expand.ts';
import { localPathDeleter, localPathProvisioner } from './local-path.ts';
import { claimProtection, volumeProtection } from './protection.ts';

export const STORAGE_CONTROLLERS: readonly ((context: ControllerContext) => Service)[] = [
  claimBinder,
  volumeBinder,
  claimProtection,
  volumeProtection,
  volumeExpander,
  ephemeralVolumeController,
  localPathProvisioner,
  localPathDeleter,
];
