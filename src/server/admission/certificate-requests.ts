// Who asks for a certificate is whoever the request was authenticated as, whatever its body says.
import type { Json } from '../../api/object.ts';
import { ensureObject } from '../../api/validation.ts';
import type { AdmissionPlugin } from './port.ts';

export function certificateRequester(): AdmissionPlugin {
  return {
    name: 'CertificateRequester',
    admit: ({ bucket, operation, target, object, context }) => {
      if (bucket !== 'certificatesigningrequests.certificates.k8s.io' || operation !== 'CREATE') return;
      if (target.subresource !== undefined || !object) return;
      const { name, uid, groups, extra } = context.user;
      const spec = ensureObject(object, 'spec');
      for (const field of ['username', 'uid', 'groups', 'extra']) delete spec[field];
      spec.username = name;
      if (uid !== undefined && uid !== '') spec.uid = uid;
      if (groups.length > 0) spec.groups = [...groups];
      if (extra && Object.keys(extra).length > 0) {
        spec.extra = Object.fromEntries(
          Object.entries(extra).map(([key, values]): [string, Json] => [key, [...values]]),
        );
      }
    },
  };
}
