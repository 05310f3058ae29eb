import type { Catalogue } from '../../api/catalogue.ts';
import type { Component } from '../../api/components.ts';
import type { EventWriter } from '../../client/events.ts';
import type { InformerSet } from '../../client/informer.ts';
import type { Client } from '../../client/port.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Random } from '../../lib/random.ts';

/** What every controller is built from. */
export interface ControllerContext {
  readonly client: Client;
  readonly informers: InformerSet;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly events: EventWriter;
  readonly catalogue: Catalogue;
  /** Pods get their addresses from here, a /24 for each node: `10.42.0.0/16`. */
  readonly clusterCidr: string;
  /** The cluster's CA in PEM, published as ConfigMap kube-root-ca.crt in every namespace. */
  readonly ca: string;
  /** Where the boards keep the volumes of the local-path provisioner; /var/lib/copepod/storage unless said. */
  readonly storageDirectory?: string;
  /** `--disable`. */
  readonly disabled?: ReadonlySet<Component>;
}
