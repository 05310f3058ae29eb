import { expect, test } from 'vitest';
import { StatusError } from '../../../src/api/errors.ts';
import { negotiate, wantsAggregatedDiscovery } from '../../../src/server/http/negotiation.ts';

test.each([
  [undefined, 'json object'],
  ['*/*', 'json object'],
  ['application/json, */*', 'json object'],
  ['application/yaml', 'yaml object'],
  ['application/vnd.kubernetes.protobuf,application/json', 'json object'],
  ['application/json;q=0.5,application/yaml', 'yaml object'],
  [
    'application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json',
    'json table',
  ],
  ['application/json;as=Table;v=v9;g=meta.k8s.io,application/json', 'json object'],
  ['application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1', 'json partial-list'],
  [
    'application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1',
    'json partial',
  ],
])('%s', (accept, expected) => {
  const { encoding, as } = negotiate(accept);
  expect(`${encoding} ${as}`).toBe(expected);
});

test.each([
  'text/html',
  'application/vnd.kubernetes.protobuf',
  'application/json;as=Nope;v=v1;g=meta.k8s.io',
  'application/json;q=0',
])('%s cannot be made', (accept) => {
  expect(() => negotiate(accept)).toThrow(StatusError);
});

test('aggregated discovery only for who prefers it', () => {
  const aggregated = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
  expect(wantsAggregatedDiscovery(`${aggregated},application/json`)).toBe('v2');
  expect(wantsAggregatedDiscovery(`application/json,${aggregated}`)).toBeUndefined();
  expect(wantsAggregatedDiscovery(aggregated.replace('v2', 'v2beta1'))).toBe('v2beta1');
  expect(wantsAggregatedDiscovery('application/json')).toBeUndefined();
});
