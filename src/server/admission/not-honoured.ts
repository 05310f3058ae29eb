// Objects that are stored but do not take effect yet say so, each time they are written.
import type { AdmissionPlugin } from './port.ts';

const REASONS: Readonly<Record<string, string>> = {
  'mutatingwebhookconfigurations.admissionregistration.k8s.io': 'admission webhooks are not called',
  'validatingwebhookconfigurations.admissionregistration.k8s.io': 'admission webhooks are not called',
  'mutatingadmissionpolicies.admissionregistration.k8s.io': 'admission policies are not evaluated',
  'mutatingadmissionpolicybindings.admissionregistration.k8s.io': 'admission policies are not evaluated',
  'validatingadmissionpolicies.admissionregistration.k8s.io': 'admission policies are not evaluated',
  'validatingadmissionpolicybindings.admissionregistration.k8s.io': 'admission policies are not evaluated',
  'customresourcedefinitions.apiextensions.k8s.io': 'custom resources are not served',
};

/** Warns about kinds that this server keeps for others to read only. */
export function notHonoured(): AdmissionPlugin {
  return {
    name: 'NotHonoured',
    validate: ({ bucket, operation, target, object, context }) => {
      if (operation !== 'CREATE' && operation !== 'UPDATE') return;
      if (target.subresource !== undefined) return;
      const reason = Object.hasOwn(REASONS, bucket) ? REASONS[bucket] : undefined;
      if (reason !== undefined) context.warn(`${target.info.kind} is stored but has no effect yet: ${reason}`);
      if (bucket === 'apiservices.apiregistration.k8s.io' && object?.spec !== undefined) {
        const { service } = object.spec as { service?: unknown };
        if (service !== undefined && service !== null) {
          context.warn('APIService is stored but has no effect yet: aggregated APIs are not served');
        }
      }
    },
  };
}
