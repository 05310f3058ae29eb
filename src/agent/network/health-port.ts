import type { Server } from 'node:http';

export interface HealthAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** A small HTTP server that load balancers ask. Rejects when it cannot have the port. */
export async function openHealthPort(options: {
  host: string;
  port: number;
  answer: (path: string) => HealthAnswer;
  onError: (error: Error) => void;
}): Promise<Server> {
  const { host, port, answer, onError } = options;
  // Most boards have nothing to answer for.
  const { createServer } = await import('node:http');
  const server = createServer((request, response) => {
    request.resume();
    const { status, headers, body } = answer((request.url ?? '/').replace(/\?.*$/s, ''));
    response.writeHead(status, { ...headers, 'Content-Length': Buffer.byteLength(body) }).end(body);
  });
  server.maxConnections = 64;
  server.requestTimeout = 10_000;
  server.keepAliveTimeout = 5_000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      server.on('error', onError);
      resolve();
    });
  });
  return server;
}

export async function closeHealthPort(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}
