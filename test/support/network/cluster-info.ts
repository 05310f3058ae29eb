import type { ClusterInfo } from '../../../src/wire/messages.ts';

/** What the server tells every node, by its defaults. */
export const cluster: ClusterInfo = {
  v: 1,
  clusterCidr: '10.42.0.0/16',
  serviceCidr: '10.43.0.0/16',
  clusterDns: '10.43.0.10',
  clusterDomain: 'cluster.local',
};
