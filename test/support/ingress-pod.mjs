// A web server for tests of the ingress, run in a pod: says who it is and what it was asked, echoes WebSockets, takes and
// gives bulk. On SIGTERM it serves on until nobody has asked for a second, as a well-behaved server does: it hears that it
// shall end while others still hear that it will. argv: port.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { hostname } from 'node:os';
import { WebSocketServer } from 'ws';

const QUIET_TURNS = 10;
/** Turns of the event loop, each with a look for requests: a process that gets no CPU for a second was not quiet. */
let quiet = 0;

const server = createServer((request, response) => {
  if (!request.headers['user-agent']?.startsWith('kube-probe')) quiet = 0;
  if (request.url === '/bulk' && request.method === 'GET') {
    for (let piece = 0; piece < 20; piece += 1) response.write(Buffer.alloc(1024 * 1024, piece));
    response.end();
    return;
  }
  const hash = createHash('sha256');
  let length = 0;
  request.on('data', (chunk) => {
    hash.update(chunk);
    length += chunk.length;
  });
  request.on('end', () => {
    const { method, url, headers } = request;
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ pod: hostname(), method, url, headers, length, hash: hash.digest('hex') }));
  });
});
new WebSocketServer({ server }).on('connection', (socket) => {
  socket.on('message', (data) => socket.send(`echo ${data}`));
});
server.listen(Number(process.argv[2]), '0.0.0.0');
process.on('SIGTERM', () => {
  quiet = 0;
  setInterval(() => {
    quiet += 1;
    if (quiet > QUIET_TURNS) process.exit(0);
  }, 100);
});
