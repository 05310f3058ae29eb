import { Duplex } from 'node:stream';

/** Two ends of a connection in memory; destroying one breaks the other, as a reset does. */
export function duplexPair(): [Duplex, Duplex] {
  const make = (other: () => Duplex): Duplex =>
    new Duplex({
      read() {
        const resume = this as Duplex & { resumeWriter?: () => void };
        resume.resumeWriter?.();
      },
      write(chunk, _encoding, done) {
        const peer = other() as Duplex & { resumeWriter?: () => void };
        if (peer.destroyed || peer.push(chunk)) {
          setImmediate(done);
        } else {
          peer.resumeWriter = () => {
            delete peer.resumeWriter;
            setImmediate(done);
          };
        }
      },
      final(done) {
        if (!other().destroyed) other().push(null);
        done();
      },
      destroy(error, done) {
        setImmediate(() => other().destroy());
        done(error);
      },
    });
  const near: Duplex = make(() => far);
  const far: Duplex = make(() => near);
  return [near, far];
}
