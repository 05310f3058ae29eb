// A "pod" for network tests: answers every TCP connection and UDP datagram with its name and the peer's address.
// argv: name, then ports. Prints `ready` when it listens.
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

const [name, ...ports] = process.argv.slice(2);
let pending = 0;
const ready = () => {
  pending -= 1;
  if (pending === 0) process.stdout.write('ready\n');
};
for (const port of ports.map(Number)) {
  pending += 2;
  createServer((socket) => {
    socket.on('error', () => {});
    socket.end(`${name} ${socket.remoteAddress}\n`);
  }).listen(port, '0.0.0.0', ready);
  const udp = createSocket('udp4');
  udp.on('message', (_message, peer) => udp.send(`${name} ${peer.address}\n`, peer.port, peer.address));
  udp.bind(port, '0.0.0.0', ready);
}
