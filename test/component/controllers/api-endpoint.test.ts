import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ENDPOINT_SLICES, ENDPOINTS } from '../../../src/api/kinds.ts';
import { ApiEndpoint } from '../../../src/server/controllers/api-endpoint.ts';
import { APIS, ControlPlane } from '../../support/control-plane.ts';

describe.each(APIS)('the endpoint of the Service kubernetes on the %s API', (api) => {
  let plane: ControlPlane;
  let address: string | undefined;
  beforeEach(async () => {
    plane = await ControlPlane.open(api);
    address = undefined;
    await plane.start(
      ({ client, clock, logger }) =>
        new ApiEndpoint({ client, clock, logger, port: 6443, address: async () => address }),
    );
  });
  afterEach(() => plane.stop());

  const told = (): unknown[] => {
    const slice = plane.client.peek(ENDPOINT_SLICES, 'default', 'kubernetes');
    const endpoints = plane.client.peek(ENDPOINTS, 'default', 'kubernetes');
    return [
      slice?.endpoints?.flatMap(({ addresses }) => addresses) ?? [],
      endpoints?.subsets?.flatMap((subset) => (subset.addresses ?? []).map(({ ip }) => ip)) ?? [],
    ];
  };
  const later = async (now: string | undefined): Promise<void> => {
    address = now;
    await plane.clock.advance(10_000);
    await plane.settle();
  };

  it('comes with the machine’s address, follows it and goes with it', async () => {
    expect(told()).toEqual([[], []]);
    await later('192.0.2.1');
    expect(told()).toEqual([['192.0.2.1'], ['192.0.2.1']]);
    const { resourceVersion } = plane.client.peek(ENDPOINTS, 'default', 'kubernetes')?.metadata ?? {};
    await later('192.0.2.1');
    expect(plane.client.peek(ENDPOINTS, 'default', 'kubernetes')?.metadata.resourceVersion).toBe(
      resourceVersion,
    );
    await later('192.0.2.2');
    expect(told()).toEqual([['192.0.2.2'], ['192.0.2.2']]);
    await later('127.0.0.1');
    expect(told()).toEqual([[], []]);
  });
});
