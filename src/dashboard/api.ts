/** The browser's client of the public API: lists, follows and reads logs with a bearer token. */

export interface Meta {
  name: string;
  namespace?: string;
  uid: string;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  resourceVersion?: string;
  labels?: Record<string, string>;
}

export interface Resource {
  metadata: Meta;
}

export interface BoardReading {
  node: string;
  /** Seconds since the last heartbeat, by the server's monotonic clock. */
  heartbeatAge: number;
  alive: boolean;
  cpu: number;
  load: number;
  memTotal: number;
  memAvailable: number;
  diskTotal: number;
  diskAvailable: number;
  temperature?: number;
  throttled?: boolean;
}

export class ApiError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const RETRY_MS = 3000;

export class Api {
  private readonly token: string;

  constructor(token: string) {
    this.token = token;
  }

  async get(path: string, signal?: AbortSignal): Promise<Response> {
    const response = await fetch(path, {
      headers: { authorization: `Bearer ${this.token}`, accept: 'application/json' },
      ...(signal ? { signal } : {}),
    });
    if (response.ok) return response;
    const status = (await response.json().catch(() => ({}))) as { message?: string };
    throw new ApiError(response.status, status.message ?? `the server answered ${response.status}`);
  }

  async boards(signal: AbortSignal): Promise<BoardReading[]> {
    return ((await (await this.get('/copepod/v1/boards', signal)).json()) as { items: BoardReading[] }).items;
  }

  /**
   * Lists, then watches, for as long as the signal lets it; lists again when the watch ends or fails. `onChange` gets the
   * whole collection by uid; `onState` says whether what is shown is live.
   */
  async follow<T extends Resource>(
    path: string,
    signal: AbortSignal,
    onChange: (items: ReadonlyMap<string, T>) => void,
    onState: (error: Error | undefined) => void,
  ): Promise<void> {
    while (!signal.aborted) {
      try {
        const list = (await (await this.get(path, signal)).json()) as {
          items: T[];
          metadata: { resourceVersion: string };
        };
        const items = new Map(list.items.map((item) => [item.metadata.uid, item]));
        onState(undefined);
        onChange(new Map(items));
        await this.watch<T>(path, list.metadata.resourceVersion, signal, (type, object) => {
          if (type === 'DELETED') items.delete(object.metadata.uid);
          else items.set(object.metadata.uid, object);
          onChange(new Map(items));
        });
      } catch (error) {
        if (signal.aborted) return;
        onState(error as Error);
        if (error instanceof ApiError && error.status === 401) return;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  private async watch<T>(
    path: string,
    resourceVersion: string,
    signal: AbortSignal,
    onEvent: (type: string, object: T) => void,
  ): Promise<void> {
    const query = `watch=true&allowWatchBookmarks=true&resourceVersion=${resourceVersion}`;
    const response = await this.get(`${path}?${query}`, signal);
    for await (const line of lines(response)) {
      const event = JSON.parse(line) as { type: string; object: T };
      if (event.type === 'ERROR') return;
      if (event.type !== 'BOOKMARK') onEvent(event.type, event.object);
    }
  }

  async *logs(
    namespace: string,
    pod: string,
    container: string,
    signal: AbortSignal,
  ): AsyncGenerator<string> {
    const query = new URLSearchParams({ container, follow: 'true', tailLines: '500' });
    const response = await this.get(`/api/v1/namespaces/${namespace}/pods/${pod}/log?${query}`, signal);
    yield* lines(response);
  }
}

async function* lines(response: Response): AsyncGenerator<string> {
  const reader = response.body?.getReader();
  if (!reader) return;
  const decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    rest += decoder.decode(value, { stream: !done });
    const parts = rest.split('\n');
    rest = parts.pop() ?? '';
    yield* parts;
    if (done) {
      if (rest !== '') yield rest;
      return;
    }
  }
}
