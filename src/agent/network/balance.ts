// The chains that all Services share. A Service is found by one look-up, which tells how many endpoints it has; one number
// is drawn, and the endpoint of that number is found by another look-up in a map: `ep-2` has the third endpoint of every
// Service that has three. So a Service is elements of maps and nothing else, and costs the same among ten and ten thousand.

/** Services with more endpoints than this have a chain of their own: the maps would be many and nearly empty. */
export const MOST_SHARED = 16;
/** kube-proxy's bit, so that other programs that know it read it rightly. */
export const MASQUERADE_BIT = '0x4000';
export const MARK = `meta mark set meta mark or ${MASQUERADE_BIT}`;

/** How a Service's front is looked up: its address and port, or the node port alone. */
export type Front = 'address' | 'node-port';

const PICK = { address: 'pick', 'node-port': 'node-pick' } as const;
const BALANCE = { address: 'balance', 'node-port': 'node-balance' } as const;
const KEY = {
  address: 'ip daddr . meta l4proto . th dport',
  'node-port': 'meta l4proto . th dport',
} as const;
const TYPE = {
  address: 'ipv4_addr . inet_proto . inet_service',
  'node-port': 'inet_proto . inet_service',
} as const;

/** The map of the endpoints with this number. */
export const endpointMap = (front: Front, index: number): string =>
  `${front === 'address' ? 'ep' : 'node-ep'}-${index}`;

/** Where a front with `count` endpoints goes. */
export const balanceChain = (front: Front, count: number): string =>
  count === 1 ? `${PICK[front]}-0` : `${BALANCE[front]}-${count}`;

/** The same for addresses that are reached from outside, whose answers have to come back by this board. */
export const outsideChain = (count: number): string => `outside-${count}`;

const NUMBERS: readonly number[] = [...Array(MOST_SHARED).keys()];
const FRONTS: readonly Front[] = ['address', 'node-port'];

export function balanceMaps(): string {
  return FRONTS.flatMap((front) =>
    NUMBERS.map(
      (index) => `  map ${endpointMap(front, index)} { type ${TYPE[front]} : ipv4_addr . inet_service; }\n`,
    ),
  ).join('');
}

export function balanceChains(): (readonly [name: string, rules: readonly string[]])[] {
  return [
    ...FRONTS.flatMap((front) => [
      ...NUMBERS.map(
        (index) =>
          [
            `${PICK[front]}-${index}`,
            [
              // A node port is reached from outside.
              ...(front === 'node-port' ? [MARK] : []),
              `meta l4proto { tcp, udp, sctp } dnat ip to ${KEY[front]} map @${endpointMap(front, index)}`,
            ],
          ] as const,
      ),
      ...NUMBERS.slice(1).map(
        (last) =>
          [
            balanceChain(front, last + 1),
            [
              `numgen random mod ${last + 1} vmap { ${NUMBERS.slice(0, last + 1)
                .map((index) => `${index} : goto ${PICK[front]}-${index}`)
                .join(', ')} }`,
            ],
          ] as const,
      ),
    ]),
    ...NUMBERS.map(
      (last) => [outsideChain(last + 1), [`${MARK} goto ${balanceChain('address', last + 1)}`]] as const,
    ),
  ];
}
