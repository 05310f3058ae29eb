import { isAlreadyExists } from '../../api/errors.ts';
import { CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS } from '../../api/kinds.ts';
import { Controller, isNamespaceTerminating, watch } from '../../client/reconcile.ts';
import type { ControllerContext } from './context.ts';

const ROOT_CA = 'kube-root-ca.crt';
const DESCRIPTION =
  'Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.';

/** Sees to it that every namespace has its ServiceAccount `default` and the cluster's CA in a ConfigMap. */
export function serviceAccountController(context: ControllerContext): Controller {
  const { client, informers } = context;
  const namespaces = informers.of(NAMESPACES);
  const accounts = informers.of(SERVICE_ACCOUNTS);
  const configMaps = informers.of(CONFIG_MAPS);

  const ensure = async (work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      if (!isAlreadyExists(error) && !isNamespaceTerminating(error)) throw error;
    }
  };

  return new Controller({
    name: 'serviceaccount-controller',
    clock: context.clock,
    logger: context.logger,
    watches: [
      watch(namespaces),
      watch(accounts, ({ metadata }, { deleted }) =>
        deleted && metadata.name === 'default' ? metadata.namespace : undefined,
      ),
      watch(configMaps, ({ metadata }) => (metadata.name === ROOT_CA ? metadata.namespace : undefined)),
    ],
    reconcile: async (name) => {
      const namespace = namespaces.get(undefined, name);
      if (!namespace || namespace.metadata.deletionTimestamp !== undefined) return undefined;
      if (!accounts.get(name, 'default')) {
        await ensure(() =>
          client.create(SERVICE_ACCOUNTS, name, { metadata: { name: 'default', namespace: name } }),
        );
      }
      const current = configMaps.get(name, ROOT_CA);
      const data = { 'ca.crt': context.ca };
      if (!current) {
        await ensure(() =>
          client.create(CONFIG_MAPS, name, {
            metadata: {
              name: ROOT_CA,
              namespace: name,
              annotations: { 'kubernetes.io/description': DESCRIPTION },
            },
            data,
          }),
        );
      } else if (Object.keys(current.data ?? {}).length !== 1 || current.data?.['ca.crt'] !== context.ca) {
        await client.update(CONFIG_MAPS, { ...current, data });
      }
      return undefined;
    },
  });
}
