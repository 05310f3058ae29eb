/**
 * Limits how long a connection, a request or a server's connections may be silent. The one timer that is not the clock's:
 * Node restarts it with every byte, which no one outside could afford to. For real sockets only.
 */
export function limitSilence(
  target: { setTimeout(milliseconds: number, onSilence?: () => void): unknown },
  milliseconds: number,
  onSilence?: () => void,
): void {
  target.setTimeout(milliseconds, onSilence);
}
