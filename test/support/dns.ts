import { encodeQuery } from '../../src/agent/dns/encode.ts';
import { CLASS_IN, labelsOf, TYPE } from '../../src/agent/dns/message.ts';
import type { ClusterInfo, SharedService } from '../../src/wire/messages.ts';

export const CLUSTER: ClusterInfo = {
  v: 1,
  clusterCidr: '10.42.0.0/16',
  serviceCidr: '10.3.0.0/16',
  clusterDns: '10.3.0.10',
  clusterDomain: 'cluster.local',
};

export function sharedService(fields: Partial<SharedService> & Pick<SharedService, 'name'>): SharedService {
  return { v: 1, namespace: 'default', type: 'ClusterIP', clusterIPs: [], ports: [], ...fields };
}

/** A query with the name's letters as given. */
export function query(
  name: string,
  type: keyof typeof TYPE,
  options: { id?: number; edns?: boolean; class?: number } = {},
): Buffer {
  const labels = labelsOf(name).map((label) =>
    Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]),
  );
  const number = TYPE[type];
  const kind = options.class ?? CLASS_IN;
  const wire = Buffer.concat([...labels, Buffer.from([0, number >> 8, number & 255, kind >> 8, kind & 255])]);
  const question = { name: name.toLowerCase(), type: number, class: kind, wire };
  return encodeQuery(options.id ?? 7, question, options.edns ? { dnssecOk: false } : undefined);
}
