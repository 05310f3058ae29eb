import type { WebSocketServer } from 'ws';
import type { EmbeddedBroker } from '../../wire/embedded-broker.ts';
import { MQTT_PATH } from '../../wire/join.ts';
import { MAX_PACKET_BYTES } from '../../wire/validate.ts';
import type { Upgrade, UpgradePeer, UpgradeRoute } from '../http/ports.ts';

/** MQTT as WebSocket on the API's port. The HTTP server lets only client certificates of nodes come this far. */
export class MqttUpgrade implements UpgradeRoute {
  readonly path = MQTT_PATH;
  readonly who = 'node';
  private readonly broker: EmbeddedBroker;
  private server: WebSocketServer | undefined;

  constructor(options: { broker: EmbeddedBroker }) {
    this.broker = options.broker;
  }

  async upgrade({ nodeName }: UpgradePeer, { request, socket, head }: Upgrade): Promise<void> {
    const { WebSocketServer, createWebSocketStream } = await import('ws');
    this.server ??= new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      maxPayload: MAX_PACKET_BYTES,
      handleProtocols: (protocols) => (protocols.has('mqtt') ? 'mqtt' : false),
    });
    const offered = String(request.headers['sec-websocket-protocol'] ?? '').split(/\s*,\s*/);
    // The subprotocol must be named [MQTT-6.0.0-3].
    if (nodeName === undefined || !offered.includes('mqtt')) {
      socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
      return;
    }
    this.server.handleUpgrade(request, socket, head, (websocket) => {
      this.broker.handle(createWebSocketStream(websocket), { node: nodeName });
    });
  }
}
