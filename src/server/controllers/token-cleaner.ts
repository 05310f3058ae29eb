import { SECRETS } from '../../api/kinds.ts';
import { splitKey } from '../../api/object.ts';
import type { Secret } from '../../api/types/core-v1.ts';
import { Controller, watch } from '../../client/reconcile.ts';
import type { ControllerContext } from './context.ts';

const TYPE = 'bootstrap.kubernetes.io/token';
const NAMESPACE = 'kube-system';

/** Deletes bootstrap tokens when their time is over. */
export function tokenCleaner(context: ControllerContext): Controller {
  const { client, informers, clock } = context;
  const secrets = informers.of(SECRETS);
  return new Controller({
    name: 'token-cleaner',
    clock,
    logger: context.logger,
    watches: [
      watch(secrets, (secret) => (isToken(secret) ? `${NAMESPACE}/${secret.metadata.name}` : undefined)),
    ],
    reconcile: async (key) => {
      const { namespace, name } = splitKey(key);
      const secret = secrets.get(namespace, name);
      if (!secret || !isToken(secret)) return undefined;
      const end = endOf(secret);
      if (end === undefined) return undefined;
      const left = end - clock.now();
      if (left > 0) return left;
      await client.delete(SECRETS, namespace, name, { preconditions: { uid: secret.metadata.uid ?? '' } });
      return undefined;
    },
  });
}

const isToken = ({ type, metadata }: Secret): boolean => type === TYPE && metadata.namespace === NAMESPACE;

/** Undefined: it has no end; a time that cannot be read has come, as in Kubernetes. */
function endOf({ data }: Secret): number | undefined {
  const text = Buffer.from(String(data?.expiration ?? ''), 'base64').toString('utf8');
  if (text === '') return undefined;
  const time = Date.parse(text);
  return Number.isNaN(time) ? 0 : time;
}
