import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ResourceInfo } from '../../api/catalogue.ts';
import type { JsonObject, KubeObject } from '../../api/object.ts';
import type { RequestContext, UserInfo } from '../registry/port.ts';

/** A request to a streaming subresource of a pod, authenticated and authorised. The pod may not exist. */
export interface PodStreamRequest {
  readonly subresource: 'log' | 'exec' | 'attach' | 'portforward';
  readonly namespace: string;
  readonly name: string;
  readonly query: URLSearchParams;
  readonly context: RequestContext;
  /** Aborted when the client goes away or the server stops. */
  readonly signal: AbortSignal;
}

/**
 * Plugged in by src/server/http/streams. A StatusError thrown (or rejected with) before anything was written to the
 * response or socket is answered by HTTP as a Status with its code; afterwards the connection is just closed.
 */
export interface StreamHandlers {
  /** GET pods/<name>/log without an upgrade. Writes head and body; resolves when all is written or the client left. */
  log(request: PodStreamRequest, response: ServerResponse): Promise<void>;
  /** exec, attach, portforward (and log over WebSocket): an HTTP/1.1 upgrade to WebSocket or SPDY/3.1, still unanswered. */
  upgrade(request: PodStreamRequest, upgrade: Upgrade): Promise<void> | void;
  /** Any method, or an upgrade, to what listens behind a pod, a service or a node. */
  proxy(request: ProxyRequest, side: ProxySide): Promise<void>;
}

/** A request to pods/proxy, services/proxy or nodes/proxy, authenticated, authorised and admitted. */
export interface ProxyRequest {
  readonly resource: 'pods' | 'services' | 'nodes';
  readonly namespace: string;
  /** `name`, `name:port` or `scheme:name:port`. */
  readonly name: string;
  /** What follows /proxy, decoded; empty or with its slash. */
  readonly path: string;
  readonly signal: AbortSignal;
}

/** The client's side of a proxied request: one to be answered, or an upgrade. */
export type ProxySide =
  | { readonly request: IncomingMessage; readonly response: ServerResponse }
  | { readonly upgrade: Upgrade };

/** The parts of Node's `upgrade` event. The handler owns the socket from then on and must end it. */
export interface Upgrade {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

/** A path of its own that takes upgrades: `/mqtt`, and the agents' dial-ins below STREAMS_PATH (src/wire/join.ts). */
export interface UpgradeRoute {
  /** The whole path, or a prefix when it ends with a slash. */
  readonly path: string;
  /** `node`: only a client certificate of a node is let in (403 else). `authenticated`: anyone but the anonymous. */
  readonly who: 'node' | 'authenticated';
  upgrade(peer: UpgradePeer, upgrade: Upgrade): Promise<void> | void;
}

export interface UpgradePeer {
  readonly user: UserInfo;
  /** Set when the user is a node (system:node:<name> in system:nodes). */
  readonly nodeName: string | undefined;
  /** Without query. */
  readonly path: string;
  readonly query: URLSearchParams;
}

/** How rows of a Table are made: the strategies of the registry know the cells. */
export interface TableCells {
  /** One value per column of data/table-columns.json, or undefined when only name and age are known. */
  cells(
    info: ResourceInfo,
    object: KubeObject,
    now: number,
  ): readonly (string | number | boolean | null)[] | undefined;
  /** Columns of a type that the data file does not know (additionalPrinterColumns of a CRD). */
  columns?(info: ResourceInfo): readonly TableColumn[] | undefined;
}

export interface TableColumn {
  name: string;
  type: string;
  format?: string;
  description?: string;
  priority?: number;
}

/** Schemas for /openapi of what is not in data/schemas.json: those of CRDs, in OpenAPI v3 form. */
export interface CustomSchemas {
  schema(info: ResourceInfo): JsonObject | undefined;
}

/** A named check of /livez and /readyz; `undefined` or true is good, a text says what is wrong. */
export interface HealthCheck {
  readonly name: string;
  /** Which endpoints it counts for; `readyz` only is usual for what comes up after the start. */
  readonly for: readonly ('livez' | 'readyz')[];
  check(): string | true | undefined;
}
