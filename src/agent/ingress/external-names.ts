import { lookup } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/** An ExternalName leads nowhere that it may lead to. */
export class NoUsableAddress extends Error {}

/**
 * An ExternalName is written by whoever may write Services: it must not lead to what listens on the board itself, nor to
 * a cloud's metadata.
 */
export class ExternalNames {
  private readonly barred = new BlockList();

  constructor() {
    const { barred } = this;
    barred.addSubnet('127.0.0.0', 8, 'ipv4');
    barred.addSubnet('0.0.0.0', 8, 'ipv4');
    barred.addSubnet('169.254.0.0', 16, 'ipv4');
    barred.addAddress('::1', 'ipv6');
    barred.addAddress('::', 'ipv6');
    barred.addSubnet('fe80::', 10, 'ipv6');
    barred.addSubnet('::ffff:127.0.0.0', 104, 'ipv6');
    barred.addSubnet('::ffff:169.254.0.0', 112, 'ipv6');
  }

  /** False for an address, written as a name, that may not be asked. Names are looked at when they are resolved. */
  mayBeAsked(name: string): boolean {
    const family = isIP(name);
    return family === 0 || !this.isBarred(name, family);
  }

  /** The board's resolver, without the addresses that may not be asked. */
  readonly lookup: LookupFunction = (host, options, done) => {
    lookup(host, { ...options, all: true, family: 0 }, (error, found) => {
      if (error) return done(error, '', 0);
      const usable = found.filter(({ address, family }) => !this.isBarred(address, family));
      const [first] = usable;
      if (!first) return done(new NoUsableAddress(`${host} has no address that may be asked`), '', 0);
      if (options.all) done(null, usable);
      else done(null, first.address, first.family);
    });
  };

  private isBarred(address: string, family: number): boolean {
    return this.barred.check(address, family === 6 ? 'ipv6' : 'ipv4');
  }
}
