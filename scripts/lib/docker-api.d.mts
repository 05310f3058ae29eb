export interface DockerRequestOptions {
  body?: Buffer;
  contentType?: string;
  timeoutMs?: number;
}
export function dockerRequest(
  socket: string,
  method: string,
  path: string,
  options?: DockerRequestOptions,
): Promise<{ status: number; body: string }>;
export function dockerCall(
  socket: string,
  method: string,
  path: string,
  options?: DockerRequestOptions,
): Promise<unknown>;
export function engineAnswers(socket: string, timeoutMs?: number): Promise<boolean>;
export function hasImage(socket: string, reference: string): Promise<boolean>;
export function importImage(
  socket: string,
  tar: Buffer,
  reference: string,
  changes?: readonly string[],
): Promise<void>;
