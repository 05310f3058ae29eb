import type { ServerResponse } from 'node:http';
import { badRequest, type FieldError, invalid } from '../../../api/errors.ts';
import type { ChannelPeer } from '../../../wire/channel-socket.ts';
import { CHANNEL } from '../../../wire/channels.ts';
import type { StreamKind } from '../../../wire/messages.ts';
import { parseStatus } from './agent-streams.ts';

type LogOptions = Omit<Extract<StreamKind, { type: 'logs' }>, 'type' | 'podUid' | 'container'>;

/** Kubernetes reads `1`, `true` and a bare `?follow` alike (conversion of url.Values to bool). */
export function flag(query: URLSearchParams, name: string): boolean {
  const value = query.get(name);
  return value !== null && value !== 'false' && value !== '0';
}

/** PodLogOptions from the query; throws 400 for what is no number and 422 with causes for what may not be. */
export function parseLogOptions(query: URLSearchParams): LogOptions {
  const number = (name: string): number | undefined => {
    const text = query.get(name);
    if (text === null || text === '') return undefined;
    if (!/^[+-]?\d{1,18}$/.test(text))
      throw badRequest(`strconv.ParseInt: parsing "${text}": invalid syntax`);
    return Number(text);
  };
  const errors: FieldError[] = [];
  const tailLines = number('tailLines');
  const sinceSeconds = number('sinceSeconds');
  const limitBytes = number('limitBytes');
  const sinceTime = query.get('sinceTime') ?? undefined;
  if (tailLines !== undefined && tailLines < 0) {
    errors.push(outOfRange('tailLines', tailLines, 'must be greater than or equal to 0'));
  }
  if (limitBytes !== undefined && limitBytes < 1) {
    errors.push(outOfRange('limitBytes', limitBytes, 'must be greater than 0'));
  }
  if (sinceSeconds !== undefined && sinceTime !== undefined) {
    errors.push({
      reason: 'FieldValueForbidden',
      field: '',
      message: 'Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified',
    });
  } else if (sinceSeconds !== undefined && sinceSeconds < 1) {
    errors.push(outOfRange('sinceSeconds', sinceSeconds, 'must be greater than 0'));
  }
  if (sinceTime !== undefined && Number.isNaN(Date.parse(sinceTime))) {
    throw badRequest(`parsing time "${sinceTime}": expected RFC 3339, such as 2026-01-31T12:00:00Z`);
  }
  if (errors.length > 0) throw invalid({ group: '', kind: 'PodLogOptions' }, '', errors);
  return {
    follow: flag(query, 'follow'),
    previous: flag(query, 'previous'),
    timestamps: flag(query, 'timestamps'),
    ...(tailLines === undefined ? {} : { tailLines }),
    ...(sinceSeconds === undefined ? {} : { sinceSeconds }),
    ...(limitBytes === undefined ? {} : { limitBytes }),
    ...(sinceTime === undefined ? {} : { sinceTime }),
  };
}

function outOfRange(field: string, value: number, why: string): FieldError {
  return { reason: 'FieldValueInvalid', field, message: `Invalid value: ${value}: ${why}` };
}

/** Copies the agent's log stream into the response; resolves when either side has ended. */
export function pipeLogs(peer: ChannelPeer, response: ServerResponse, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    response.writeHead(200, { 'content-type': 'text/plain' });
    response.flushHeaders();
    const end = (): void => {
      signal.removeEventListener('abort', abort);
      response.end();
      resolve();
    };
    const abort = (): void => peer.close();
    signal.addEventListener('abort', abort, { once: true });
    response.on('close', abort);
    response.on('drain', () => peer.resume());
    peer.onMessage = (channel, data) => {
      if (channel === CHANNEL.STDOUT) {
        if (!response.write(data)) peer.pause();
        return;
      }
      // A failure in mid-stream has no place in a response that began; the kubelet appends it as text too.
      const status = channel === CHANNEL.STATUS ? parseStatus(data) : undefined;
      if (status?.status === 'Failure' && status.message) response.write(`${status.message}\n`);
    };
    peer.onClose = end;
    if (signal.aborted) peer.close();
    peer.resume();
  });
}
