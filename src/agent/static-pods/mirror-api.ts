import type { Node, Pod } from '../../api/types/core-v1.ts';
import type { Clock } from '../../lib/clock.ts';
import { httpsRequest } from '../https-request.ts';
import type { NodeIdentity } from '../join.ts';
import type { MirrorApi } from './mirrors.ts';

/** MirrorApi over the node's certificate. */
export function mirrorApi(options: {
  /** `https://HOST:6443`. */
  server: string;
  nodeName: string;
  /** Read for each request: certificates are renewed. */
  identity: () => NodeIdentity;
  clock: Clock;
}): MirrorApi {
  const call = async (
    method: string,
    path: string,
    body?: object,
    accept: number[] = [],
  ): Promise<string> => {
    const { ca, certificate, key } = options.identity();
    const answer = await httpsRequest(new URL(path, options.server), {
      clock: options.clock,
      method,
      ca,
      certificate,
      key,
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    if (answer.status >= 300 && !accept.includes(answer.status)) {
      throw new Error(messageOf(answer.body) ?? `the server answered ${answer.status}`);
    }
    return answer.body;
  };
  const podPath = (namespace: string, name = ''): string =>
    `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods${name ? `/${encodeURIComponent(name)}` : ''}`;
  return {
    async nodeUid() {
      const node = JSON.parse(
        await call('GET', `/api/v1/nodes/${encodeURIComponent(options.nodeName)}`),
      ) as Node;
      if (!node.metadata.uid) throw new Error('the server’s Node has no uid');
      return node.metadata.uid;
    },
    async create(pod: Pod) {
      // One of that name that is there already is heard of, and dealt with then.
      await call('POST', podPath(pod.metadata.namespace ?? 'default'), pod, [409]);
    },
    async delete(namespace, name, uid) {
      await call(
        'DELETE',
        podPath(namespace, name),
        { kind: 'DeleteOptions', apiVersion: 'v1', gracePeriodSeconds: 0, preconditions: { uid } },
        [404, 409],
      );
    },
  };
}

function messageOf(body: string): string | undefined {
  try {
    return (JSON.parse(body) as { message?: string }).message;
  } catch {
    return undefined;
  }
}
