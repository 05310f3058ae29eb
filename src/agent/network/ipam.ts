import { NetworkError } from './commands.ts';
import { contains, type Prefix, parsePrefix, size, toAddress, toNumber } from './ipv4.ts';

/**
 * The addresses of one node's pod CIDR. Nothing is written to disk: after a restart the addresses of living pods are
 * reserved again from what is observed. Invariants:
 * - the network, bridge (first) and broadcast addresses are never given out;
 * - an owner holds one address, an address has one owner;
 * - a released address rests before it is used again, so that a peer's stale connection or DNS answer does not reach
 *   a stranger; only when nothing else is left is the longest rested one used earlier.
 */
export class Ipam {
  readonly prefix: Prefix;
  private readonly monotonic: () => number;
  private readonly restMs: number;
  private readonly byOwner = new Map<string, number>();
  private readonly owners = new Map<number, string>();
  /** Address -> when it was released; insertion order is release order. */
  private readonly resting = new Map<number, number>();
  private cursor: number;

  constructor(options: { podCidr: string; monotonic: () => number; restMs?: number }) {
    this.prefix = parsePrefix(options.podCidr);
    if (this.prefix.length > 30) {
      throw new NetworkError('AddressesExhausted', `pod CIDR ${options.podCidr} has no room for pods`);
    }
    this.monotonic = options.monotonic;
    this.restMs = options.restMs ?? 60_000;
    this.cursor = this.first;
  }

  /** The bridge's address, every pod's gateway. */
  get gateway(): string {
    return toAddress(this.prefix.base + 1);
  }

  /** Throws NetworkError `AddressesExhausted`. */
  allocate(owner: string): string {
    const held = this.byOwner.get(owner);
    if (held !== undefined) return toAddress(held);
    const address = this.nextFree();
    if (address === undefined) {
      throw new NetworkError(
        'AddressesExhausted',
        `no free address: all ${this.owners.size} of the node's pod CIDR are in use`,
      );
    }
    this.take(owner, address);
    this.cursor = address === this.last ? this.first : address + 1;
    return toAddress(address);
  }

  /** Records the address of a pod that lives on. False: outside the CIDR, or another pod's. */
  reserve(owner: string, address: string): boolean {
    if (!contains(this.prefix, address)) return false;
    const value = toNumber(address);
    if (value < this.first || value > this.last) return false;
    const present = this.owners.get(value);
    if (present !== undefined) return present === owner;
    if (this.byOwner.has(owner)) return false;
    this.take(owner, value);
    // What was just freed before a restart is not known: go on behind the highest address seen.
    if (value >= this.cursor) this.cursor = value === this.last ? this.first : value + 1;
    return true;
  }

  release(owner: string): void {
    const address = this.byOwner.get(owner);
    if (address === undefined) return;
    this.byOwner.delete(owner);
    this.owners.delete(address);
    this.resting.set(address, this.monotonic());
  }

  private get first(): number {
    return this.prefix.base + 2;
  }

  private get last(): number {
    return this.prefix.base + size(this.prefix) - 2;
  }

  private take(owner: string, address: number): void {
    this.byOwner.set(owner, address);
    this.owners.set(address, owner);
    this.resting.delete(address);
  }

  private nextFree(): number | undefined {
    const now = this.monotonic();
    for (const [address, since] of this.resting) {
      if (now - since < this.restMs) break;
      this.resting.delete(address);
    }
    const count = this.last - this.first + 1;
    if (this.owners.size + this.resting.size < count) {
      for (let step = 0; step < count; step += 1) {
        const address = this.first + ((this.cursor - this.first + step) % count);
        if (!this.owners.has(address) && !this.resting.has(address)) return address;
      }
    }
    const rested = this.resting.keys().next();
    return rested.done ? undefined : rested.value;
  }
}
