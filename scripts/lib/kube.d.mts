export interface Credentials {
  server: string;
  ca: string;
  cert: string;
  key: string;
}
export interface KubeAnswer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: the bodies of every resource, in tests only
  body: any;
}
export interface KubeClient {
  send(
    method: string,
    path: string,
    object?: object,
    options?: { timeoutMs?: number; contentType?: string },
  ): Promise<KubeAnswer>;
  close(): void;
}
export function readKubeconfig(path: string): Credentials;
export function connect(credentials: Credentials, options?: { connections?: number }): KubeClient;
export function nodeReadySince(client: KubeClient, name: string, since: number): Promise<boolean>;
