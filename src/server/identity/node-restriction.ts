import { forbidden } from '../../api/errors.ts';
import type { Pod } from '../../api/types/core-v1.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../admission/port.ts';
import type { Store } from '../store/port.ts';
import { nodeOfUser } from './node-authorizer.ts';

/**
 * What the authoriser cannot see because it is in the body: a node gets a service account's token only bound to a pod that
 * runs on it. (All other writes of nodes come over MQTT, where the Bus checks them.)
 */
export class NodeRestriction implements AdmissionPlugin {
  readonly name = 'NodeRestriction';
  private readonly store: Pick<Store, 'get'>;

  constructor(store: Pick<Store, 'get'>) {
    this.store = store;
  }

  validate({ target, object, context }: AdmissionRequest): void {
    const node = nodeOfUser(context.user);
    if (node === undefined || target.info.resource !== 'serviceaccounts' || target.subresource !== 'token')
      return;
    const refuse = (why: string) => forbidden(target.info, target.name ?? '', why);
    const bound = (object?.spec as { boundObjectRef?: { kind?: string; name?: string } } | undefined)
      ?.boundObjectRef;
    if (bound?.kind !== 'Pod') throw refuse(`node '${node}' may only ask for tokens bound to its pods`);
    const pod = this.store.get('pods', `${target.namespace}/${bound.name}`)?.object as Pod | undefined;
    if (pod?.spec?.nodeName !== node) throw refuse(`pod "${bound.name}" is not on node '${node}'`);
  }
}
