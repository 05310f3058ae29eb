// The few calls that the scripts and the test harness make to a Docker Engine, over its socket, without packages: they
// run before anything is installed. copepod itself uses dockerode (src/agent/docker).
import { request } from 'node:http';

/** Sends one request; resolves to {status, body}. Rejects when nobody answers within `timeoutMs`. */
export function dockerRequest(
  socket,
  method,
  path,
  { body, contentType = 'application/json', timeoutMs = 30_000 } = {},
) {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': contentType, 'content-length': body.length };
    const asked = request({ socketPath: socket, method, path, headers, timeout: timeoutMs }, (answer) => {
      const chunks = [];
      answer.on('data', (chunk) => chunks.push(chunk));
      answer.on('error', reject);
      answer.on('end', () =>
        resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(chunks).toString() }),
      );
    });
    asked.on('timeout', () => asked.destroy(new Error(`no answer from ${socket} within ${timeoutMs} ms`)));
    asked.on('error', reject);
    asked.end(body);
  });
}

/** Like dockerRequest, but resolves to the parsed body and rejects with the engine's message on failure. */
export async function dockerCall(socket, method, path, options) {
  const { status, body } = await dockerRequest(socket, method, path, options);
  if (status >= 400) {
    let message = body;
    try {
      message = JSON.parse(body).message;
    } catch {}
    throw new Error(`Docker: ${method} ${path}: ${status} ${message}`);
  }
  return body === '' ? undefined : JSON.parse(body.trim().split('\n').at(-1));
}

/** Does an engine answer at this socket? */
export async function engineAnswers(socket, timeoutMs = 2000) {
  try {
    return (await dockerRequest(socket, 'GET', '/_ping', { timeoutMs })).status === 200;
  } catch {
    return false;
  }
}

export async function hasImage(socket, reference) {
  return (await dockerRequest(socket, 'GET', `/images/${encodeURIComponent(reference)}/json`)).status === 200;
}

/** Makes an image of one layer from a tar. `changes` are lines of a Dockerfile. */
export async function importImage(socket, tar, reference, changes = []) {
  const [repository, tag = 'latest'] = reference.split(/:(?=[^/]*$)/);
  const query = new URLSearchParams({ fromSrc: '-', repo: repository, tag });
  for (const change of changes) query.append('changes', change);
  const answer = await dockerCall(socket, 'POST', `/images/create?${query}`, {
    body: tar,
    contentType: 'application/x-tar',
    timeoutMs: 120_000,
  });
  // The engine answers 200 and tells of a failure in the last line of its progress.
  if (answer?.error) throw new Error(`Docker: import of ${reference}: ${answer.error}`);
}
