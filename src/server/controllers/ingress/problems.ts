// Pure: what an Ingress asks for that boards cannot do as it is written.
import { ingressSettings, olderFirst } from '../../../api/ingress.ts';
import type { Secret } from '../../../api/types/core-v1.ts';
import type { Ingress, IngressBackend } from '../../../api/types/networking-v1.ts';
import { tlsPairProblem } from '../../../lib/tls-pair.ts';

/** A Warning on the Ingress. */
export interface IngressProblem {
  reason: string;
  message: string;
}

const FALLBACK = 'its hosts get a self-signed certificate';

export function ingressProblems(
  ingress: Ingress,
  secretOf: (name: string) => Secret | undefined,
  others: readonly Ingress[],
): IngressProblem[] {
  return [
    ...unsupportedBackends(ingress),
    ...certificateProblems(ingress, secretOf),
    ...ingressSettings(ingress.metadata.annotations ?? {}).problems.map((message) => ({
      reason: 'InvalidAnnotation',
      message,
    })),
    ...shadowedPaths(ingress, others),
  ];
}

function unsupportedBackends({ spec = {} }: Ingress): IngressProblem[] {
  const problems: IngressProblem[] = [];
  const look = (where: string, backend: IngressBackend | undefined): void => {
    const kind = backend?.resource?.kind;
    if (kind === undefined) return;
    const message = `${where}: a backend of kind ${kind} is not supported, only Services are; answered with 503`;
    problems.push({ reason: 'UnsupportedBackend', message });
  };
  look('spec.defaultBackend', spec.defaultBackend);
  spec.rules?.forEach(({ http }, rule) => {
    http?.paths.forEach(({ backend }, path) => {
      look(`spec.rules[${rule}].http.paths[${path}]`, backend);
    });
  });
  return problems;
}

function certificateProblems(
  { spec }: Ingress,
  secretOf: (name: string) => Secret | undefined,
): IngressProblem[] {
  return (spec?.tls ?? []).flatMap(({ secretName }) => {
    if (!secretName) return [];
    const secret = secretOf(secretName);
    if (!secret)
      return [{ reason: 'SecretNotFound', message: `secret "${secretName}" not found; ${FALLBACK}` }];
    const problem = secretProblem(secret);
    return problem === undefined
      ? []
      : [{ reason: 'InvalidCertificate', message: `secret "${secretName}": ${problem}; ${FALLBACK}` }];
  });
}

function secretProblem({ data = {} }: Secret): string | undefined {
  const text = (key: string): string => Buffer.from(data[key] ?? '', 'base64').toString();
  return tlsPairProblem(text('tls.crt'), text('tls.key'));
}

/** Paths that an older Ingress has already defined for the same host: the older one is served. */
function shadowedPaths(ingress: Ingress, others: readonly Ingress[]): IngressProblem[] {
  const mine = new Set(pathsOf(ingress));
  const problems: IngressProblem[] = [];
  for (const other of others) {
    // Itself, an older state of it, or a younger one.
    if (olderFirst(ageOf(other), ageOf(ingress)) >= 0) continue;
    for (const path of pathsOf(other)) {
      if (!mine.delete(path)) continue;
      const { namespace, name } = other.metadata;
      const message = `${path} is already defined by the older Ingress ${namespace}/${name}, which is served`;
      problems.push({ reason: 'PathTaken', message });
    }
  }
  return problems;
}

function pathsOf({ spec }: Ingress): string[] {
  return (spec?.rules ?? []).flatMap(({ host, http }) =>
    (http?.paths ?? []).map(({ path, pathType }) => {
      const exact = pathType === 'Exact';
      const shown = path || '/';
      return `${exact ? 'Exact' : 'Prefix'} ${host || '*'}${exact ? shown : shown.replace(/(.)\/+$/, '$1')}`;
    }),
  );
}

function ageOf({ metadata }: Ingress): { created: string; namespace: string; name: string } {
  const { creationTimestamp: created = '', namespace = '', name = '' } = metadata;
  return { created, namespace, name };
}
