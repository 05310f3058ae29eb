import { isConflict, isNotFound } from '../../api/errors.ts';
import { PERSISTENT_VOLUMES } from '../../api/kinds.ts';
import { DIRECTORY_REMOVED, LOCAL_PATH_PROVISIONER, removalNode } from '../../api/local-path.ts';
import type { PersistentVolume } from '../../api/types/core-v1.ts';
import type { EventWriter } from '../../client/events.ts';
import type { Informer, InformerSet } from '../../client/informer.ts';
import type { Client } from '../../client/port.ts';
import { type Clock, timestamp } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { VolumeReport } from '../../wire/messages.ts';

/**
 * Notes on a released volume that its node has removed the directory; the provisioner then deletes the object. What is
 * not written (or not heard) is reported again by the node, as long as the volume is there.
 */
export class VolumeReports {
  private readonly client: Client;
  private readonly volumes: Informer<PersistentVolume>;
  private readonly events: EventWriter;
  private readonly clock: Clock;
  private readonly logger: Logger;

  constructor(options: {
    client: Client;
    informers: InformerSet;
    events: EventWriter;
    clock: Clock;
    logger: Logger;
  }) {
    this.client = options.client;
    this.volumes = options.informers.of(PERSISTENT_VOLUMES);
    this.events = options.events;
    this.clock = options.clock;
    this.logger = options.logger;
  }

  came(node: string, report: VolumeReport): void {
    const volume = this.volumes.get(undefined, report.name);
    // A node is heard on what it was asked to remove only.
    if (!volume || volume.metadata.uid !== report.uid || removalNode(volume) !== node) return;
    if (report.error !== undefined) {
      this.events
        .of(LOCAL_PATH_PROVISIONER, node)
        .record(volume, 'Warning', 'VolumeFailedDelete', report.error);
      return;
    }
    this.client
      .patch(PERSISTENT_VOLUMES, undefined, report.name, {
        type: 'merge',
        body: {
          metadata: {
            uid: report.uid,
            resourceVersion: volume.metadata.resourceVersion,
            annotations: { [DIRECTORY_REMOVED]: timestamp(this.clock.now()) },
          },
        },
      })
      .catch((error: unknown) => {
        if (isConflict(error) || isNotFound(error)) return;
        this.logger.warn(
          { node, volume: report.name, err: error },
          'the removal of a volume was not written',
        );
      });
  }
}
