// Objects that are stored but do not take effect yet say so when they are written, if a Kubernetes API server would
// act on them: a webhook for resources that nobody serves changes nothing there either.
import type { Catalogue } from '../../api/catalogue.ts';
import type { JsonObject } from '../../api/object.ts';
import { asObject, listAt, objectAt, stringAt, stringsAt } from '../../api/validation.ts';
import type { Store } from '../store/port.ts';
import type { AdmissionPlugin } from './port.ts';

const GROUP = 'admissionregistration.k8s.io';
const WEBHOOKS = 'admission webhooks are not called';

export function notHonoured(options: { store: Store; catalogue: Catalogue }): AdmissionPlugin {
  return {
    name: 'NotHonoured',
    validate: ({ bucket, operation, target, object, context }) => {
      if ((operation !== 'CREATE' && operation !== 'UPDATE') || !object) return;
      if (target.subresource !== undefined) return;
      const reason = ignoredBecause(bucket, object, options);
      if (reason !== undefined)
        context.warn(`${target.info.kind} is stored but has no effect yet: ${reason}`);
    },
  };
}

function ignoredBecause(
  bucket: string,
  object: JsonObject,
  { store, catalogue }: { store: Store; catalogue: Catalogue },
): string | undefined {
  switch (bucket) {
    case `mutatingwebhookconfigurations.${GROUP}`:
    case `validatingwebhookconfigurations.${GROUP}`: {
      const rules = listAt(object, 'webhooks').flatMap((webhook) => listAt(webhook, 'rules'));
      return rules.some((rule) => concerns(catalogue, rule)) ? WEBHOOKS : undefined;
    }
    case 'customresourcedefinitions.apiextensions.k8s.io': {
      const spec = objectAt(object, 'spec');
      if (objectAt(spec, 'conversion').strategy !== 'Webhook') return undefined;
      const others = listAt(spec, 'versions').filter(
        ({ served, storage }) => served === true && storage !== true,
      );
      return others.length === 0
        ? undefined
        : `conversion webhooks are not called: ${others.map(({ name }) => name).join(', ')} is not served`;
    }
    case 'apiservices.apiregistration.k8s.io': {
      const service = asObject(objectAt(object, 'spec').service);
      if (!service) return undefined;
      const key = `${stringAt(service, 'namespace')}/${stringAt(service, 'name')}`;
      return store.head('services', key) ? 'aggregated APIs are not served' : undefined;
    }
    default:
      return undefined;
  }
}

/** Whether a rule names anything that is served. */
function concerns(catalogue: Catalogue, rule: JsonObject): boolean {
  const groups = stringsAt(rule, 'apiGroups');
  const resources = stringsAt(rule, 'resources').map((resource) => resource.split('/')[0] ?? '');
  return catalogue
    .all()
    .some(
      ({ group, resource }) =>
        (groups.includes('*') || groups.includes(group)) &&
        (resources.includes('*') || resources.includes(resource)),
    );
}
