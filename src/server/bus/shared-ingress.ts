import { ingressSettings } from '../../api/ingress.ts';
import type { HTTPIngressPath, Ingress, IngressBackend } from '../../api/types/networking-v1.ts';
import type { SharedIngress, SharedIngressBackend } from '../../wire/messages.ts';

/** What the boards need of an Ingress to serve it. */
export function sharedIngress({ metadata, spec = {} }: Ingress): SharedIngress {
  return {
    v: 1,
    namespace: metadata.namespace ?? '',
    name: metadata.name ?? '',
    created: metadata.creationTimestamp ?? '',
    ...(spec.defaultBackend === undefined ? {} : { defaultBackend: backendOf(spec.defaultBackend) }),
    rules: (spec.rules ?? []).map(({ host, http }) => ({
      ...(host ? { host } : {}),
      paths: (http?.paths ?? []).map((path) => ({
        path: path.path || '/',
        type: typeOf(path),
        backend: backendOf(path.backend),
      })),
    })),
    tls: (spec.tls ?? []).map(({ hosts = [], secretName }) => ({
      hosts,
      ...(secretName ? { secret: secretName } : {}),
    })),
    ...ingressSettings(metadata.annotations ?? {}).settings,
  };
}

/** What is implementation specific is a prefix here. */
function typeOf({ pathType }: HTTPIngressPath): 'Exact' | 'Prefix' {
  return pathType === 'Exact' ? 'Exact' : 'Prefix';
}

function backendOf({ service }: IngressBackend): SharedIngressBackend {
  const port = service?.port?.name || service?.port?.number;
  return service && port !== undefined ? { service: service.name, port } : {};
}
