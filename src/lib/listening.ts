import type { EventEmitter } from 'node:events';

/**
 * Makes a server or socket listen: `begin` starts it and is given what to call when it does. Rejects with the system's
 * error (EADDRINUSE, EACCES); errors after that go to `onError`.
 */
export function listening(
  server: EventEmitter,
  begin: (done: () => void) => void,
  onError: (error: Error) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    begin(() => {
      server.off('error', reject);
      server.on('error', onError);
      resolve();
    });
  });
}
