import type { KeyAndCertificate } from './certificates.ts';

/** A kubeconfig with everything embedded, as kubectl writes it. `server` is the URL. */
export function kubeconfig(options: { server: string; caPem: string; admin: KeyAndCertificate }): string {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  return `apiVersion: v1
kind: Config
clusters:
- name: default
  cluster:
    certificate-authority-data: ${base64(options.caPem)}
    server: ${options.server}
contexts:
- name: default
  context:
    cluster: default
    user: default
current-context: default
preferences: {}
users:
- name: default
  user:
    client-certificate-data: ${base64(options.admin.certificate)}
    client-key-data: ${base64(options.admin.key)}
`;
}
