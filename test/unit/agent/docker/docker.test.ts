import { describe, expect, it } from 'vitest';
import { Demultiplexer } from '../../../../src/agent/docker/demux.ts';
import { toRuntimeError } from '../../../../src/agent/docker/errors.ts';
import { mountPoints } from '../../../../src/agent/volumes/mounter.ts';

describe('Docker’s errors', () => {
  const error = (statusCode: number, message: string) =>
    Object.assign(new Error(`(HTTP code ${statusCode}) server error - ${message} `), {
      statusCode,
      json: { message },
    });
  it.each([
    [error(404, 'No such image: x:latest'), 'ImageNotFound'],
    [error(404, 'No such container: abc'), 'NotFound'],
    [error(404, 'pull access denied for x, repository does not exist'), 'ImageNotFound'],
    [error(404, 'manifest for x:1 not found: manifest unknown: manifest unknown'), 'ImageNotFound'],
    [error(404, 'no matching manifest for linux/arm/v7 in the manifest list entries'), 'ImageArchitecture'],
    [error(409, 'Conflict. The container name "/x" is already in use by container "y".'), 'NameConflict'],
    [error(400, 'invalid mount config'), 'InvalidSpec'],
    [
      error(400, 'OCI runtime create failed: exec: "nope": executable file not found in $PATH: unknown'),
      'CommandNotFound',
    ],
    [error(500, 'exec /x: exec format error'), 'ImageArchitecture'],
    [error(500, 'whatever'), 'Other'],
    [Object.assign(new Error('connect ENOENT /x'), { code: 'ENOENT' }), 'Unavailable'],
  ])('%s', (given, code) => expect(toRuntimeError(given).code).toBe(code));

  it('keep the engine’s words without the frame around them', () => {
    expect(toRuntimeError(error(500, 'disk full')).message).toBe('disk full');
    const streamed = Object.assign(
      new Error('(HTTP code 500) unexpected - Get "https://x/v2/": no such host '),
      { statusCode: 500 },
    );
    expect(toRuntimeError(streamed).message).toBe('Get "https://x/v2/": no such host');
  });
});

describe('Demultiplexer', () => {
  const frame = (stream: number, text: string): Buffer => {
    const header = Buffer.alloc(8);
    header[0] = stream;
    header.writeUInt32BE(Buffer.byteLength(text), 4);
    return Buffer.concat([header, Buffer.from(text)]);
  };
  const whole = Buffer.concat([frame(1, 'hello '), frame(2, 'oops'), frame(1, ''), frame(1, 'world')]);

  it.each([1, 3, 7, 8, 1000])('splits frames that come in pieces of %i bytes', (size) => {
    const out: string[] = [];
    const err: string[] = [];
    const demultiplexer = new Demultiplexer();
    const sink = {
      stdout: (chunk: Buffer) => void out.push(chunk.toString()),
      stderr: (chunk: Buffer) => void err.push(chunk.toString()),
    };
    for (let at = 0; at < whole.length; at += size) demultiplexer.push(whole.subarray(at, at + size), sink);
    expect([out.join(''), err.join('')]).toEqual(['hello world', 'oops']);
  });

  it('refuses what is not multiplexed', () => {
    const sink = { stdout: () => {}, stderr: () => {} };
    expect(() => new Demultiplexer().push(Buffer.from('plain text output'), sink)).toThrow('multiplexed');
  });
});

it('reads mount points with escaped blanks', () => {
  expect(
    mountPoints('36 35 98:0 /a /mnt/my\\040disk rw - ext4 /dev/x rw\n37 35 0:1 / /tmp rw - tmpfs tmpfs rw\n'),
  ).toEqual(['/mnt/my disk', '/tmp']);
});
