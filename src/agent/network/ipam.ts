import { NetworkError } from './commands.ts';
import { contains, type Prefix, parsePrefix, size, toAddress, toNumber } from './ipv4.ts';

/**
 * The addresses of one node's pod CIDR. Invariants:
 * - the network, bridge (first) and broadcast addresses are never given out;
 * - an owner holds one address, an address has one owner;
 * - an owner that comes back has the address that it had: endpoints and names that were made of it, here and on boards
 *   that cannot be told of another now, stay true;
 * - nobody else has a released address while there is one that was never given out, and then the one that was released
 *   first, so that a peer's stale connection or DNS answer does not reach a stranger.
 */
export class Ipam {
  readonly prefix: Prefix;
  private readonly byOwner = new Map<string, number>();
  private readonly owners = new Map<number, string>();
  /** Address -> who had it; insertion order is the order of release. Not more than the CIDR has. */
  private readonly released = new Map<number, string>();
  private readonly former = new Map<string, number>();
  private cursor: number;

  constructor({ podCidr }: { podCidr: string }) {
    this.prefix = parsePrefix(podCidr);
    if (this.prefix.length > 30) {
      throw new NetworkError('AddressesExhausted', `pod CIDR ${podCidr} has no room for pods`);
    }
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
    const mine = this.former.get(owner);
    if (mine !== undefined) {
      this.take(owner, mine);
      return toAddress(mine);
    }
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
    const value = this.ours(address);
    if (value === undefined) return false;
    const present = this.owners.get(value);
    if (present !== undefined) return present === owner;
    if (this.byOwner.has(owner)) return false;
    this.take(owner, value);
    this.goOnBehind(value);
    return true;
  }

  release(owner: string): void {
    const address = this.byOwner.get(owner);
    if (address === undefined) return;
    this.byOwner.delete(owner);
    this.owners.delete(address);
    this.keepFor(owner, address);
  }

  /** As if the owner had had the address and given it back. What is no address of ours, or somebody's, is ignored. */
  remember(owner: string, address: string): void {
    const value = this.ours(address);
    if (value === undefined || this.owners.has(value) || this.byOwner.has(owner)) return;
    this.keepFor(owner, value);
    this.goOnBehind(value);
  }

  private get first(): number {
    return this.prefix.base + 2;
  }

  private get last(): number {
    return this.prefix.base + size(this.prefix) - 2;
  }

  /** Undefined: none that could be given out. */
  private ours(address: string): number | undefined {
    if (!contains(this.prefix, address)) return undefined;
    const value = toNumber(address);
    return value < this.first || value > this.last ? undefined : value;
  }

  private keepFor(owner: string, address: number): void {
    this.forget(address);
    const other = this.former.get(owner);
    if (other !== undefined) this.released.set(other, '');
    this.released.set(address, owner);
    this.former.set(owner, address);
  }

  /** Nobody has it for a former address any more. */
  private forget(address: number): void {
    const owner = this.released.get(address);
    if (owner === undefined) return;
    this.released.delete(address);
    this.former.delete(owner);
  }

  private take(owner: string, address: number): void {
    this.forget(address);
    this.byOwner.set(owner, address);
    this.owners.set(address, owner);
  }

  /** What was freed before a restart is not known: the next is one behind the highest address seen. */
  private goOnBehind(address: number): void {
    if (address >= this.cursor) this.cursor = address === this.last ? this.first : address + 1;
  }

  private nextFree(): number | undefined {
    const count = this.last - this.first + 1;
    if (this.owners.size + this.released.size < count) {
      for (let step = 0; step < count; step += 1) {
        const address = this.first + ((this.cursor - this.first + step) % count);
        if (!this.owners.has(address) && !this.released.has(address)) return address;
      }
    }
    const longest = this.released.keys().next();
    return longest.done ? undefined : longest.value;
  }
}
