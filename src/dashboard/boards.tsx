import type { BoardReading } from './api.ts';
import { age, bytes, type NodeObject, nodeReady, type PodObject, type Tone } from './model.ts';

/** From which temperature (°C) a board deserves a look: a Pi throttles softly at 60 (3B+) and hard at 80. */
const WARM = 65;
const HOT = 80;
/** A heartbeat comes every 10 s. */
const LATE_SECONDS = 25;

export function Boards({
  nodes,
  readings,
  pods,
}: {
  nodes: readonly NodeObject[];
  readings: ReadonlyMap<string, BoardReading>;
  pods: readonly PodObject[];
}) {
  if (nodes.length === 0) return <p class="empty">No board has joined yet.</p>;
  return (
    <div class="boards">
      {nodes.map((node) => (
        <Board
          key={node.metadata.uid}
          node={node}
          reading={readings.get(node.metadata.name)}
          pods={pods.filter((pod) => pod.spec.nodeName === node.metadata.name).length}
        />
      ))}
    </div>
  );
}

function Board({
  node,
  reading,
  pods,
}: {
  node: NodeObject;
  reading: BoardReading | undefined;
  pods: number;
}) {
  const { ready, text } = nodeReady(node);
  const info = node.status?.nodeInfo;
  const address = node.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
  return (
    <article class="board" data-node={node.metadata.name}>
      <header>
        <h3>{node.metadata.name}</h3>
        <span class={`badge ${ready ? 'good' : 'bad'}`}>{text}</span>
      </header>
      <p class="facts">
        {[info?.architecture, info?.osImage, address, `${pods} pod${pods === 1 ? '' : 's'}`]
          .filter(Boolean)
          .join(' · ')}
      </p>
      {reading ? <Measurements reading={reading} /> : <p class="empty">No measurements yet.</p>}
    </article>
  );
}

function Measurements({ reading }: { reading: BoardReading }) {
  const used = reading.memTotal - reading.memAvailable;
  const disk = reading.diskTotal - reading.diskAvailable;
  const late = reading.heartbeatAge > LATE_SECONDS;
  return (
    <>
      <Meter
        label="CPU"
        fraction={reading.cpu}
        text={`${Math.round(reading.cpu * 100)} % · load ${reading.load.toFixed(2)}`}
      />
      <Meter
        label="Memory"
        fraction={used / reading.memTotal}
        text={`${bytes(used)} of ${bytes(reading.memTotal)}`}
      />
      <Meter
        label="Disk"
        fraction={disk / reading.diskTotal}
        text={`${bytes(disk)} of ${bytes(reading.diskTotal)}`}
      />
      <p class="vitals">
        <span class={temperatureTone(reading.temperature)}>
          {reading.temperature === undefined ? 'no sensor' : `${reading.temperature.toFixed(0)} °C`}
        </span>
        {reading.throttled ? <span class="badge bad">throttled</span> : null}
        <span class={late ? 'bad' : 'calm'}>heartbeat {age(reading.heartbeatAge)} ago</span>
      </p>
    </>
  );
}

function temperatureTone(temperature: number | undefined): Tone {
  if (temperature === undefined) return 'calm';
  return temperature >= HOT ? 'bad' : temperature >= WARM ? 'warn' : 'good';
}

function Meter({ label, fraction, text }: { label: string; fraction: number; text: string }) {
  const share = Number.isFinite(fraction) ? Math.min(1, Math.max(0, fraction)) : 0;
  const tone: Tone = share > 0.9 ? 'bad' : share > 0.75 ? 'warn' : 'good';
  return (
    <div class="meter">
      <span>{label}</span>
      <div class="track" aria-hidden="true">
        <div class={`fill ${tone}`} style={{ width: `${share * 100}%` }} />
      </div>
      <span class="value">{text}</span>
    </div>
  );
}
