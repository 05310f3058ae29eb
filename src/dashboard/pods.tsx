import { useState } from 'preact/hooks';
import { age, type PodObject, podStatus, podTone, readiness, restarts } from './model.ts';

export function Pods({
  pods,
  now,
  onOpen,
}: {
  pods: readonly PodObject[];
  now: number;
  onOpen: (pod: PodObject) => void;
}) {
  const [filter, setFilter] = useState('');
  const shown = pods.filter((pod) =>
    `${pod.metadata.namespace}/${pod.metadata.name} ${pod.spec.nodeName ?? ''}`.includes(filter),
  );
  return (
    <>
      <input
        class="filter"
        type="search"
        placeholder="Filter by namespace, name or board"
        value={filter}
        onInput={(event) => setFilter(event.currentTarget.value)}
      />
      {shown.length === 0 ? (
        <p class="empty">{pods.length === 0 ? 'No pods yet: kubectl apply something.' : 'No pod matches.'}</p>
      ) : (
        <div class="scroll">
          <table>
            <thead>
              <tr>
                {['Namespace', 'Pod', 'Status', 'Ready', 'Restarts', 'Board', 'Address', 'Age', ''].map(
                  (title) => (
                    <th key={title}>{title}</th>
                  ),
                )}
              </tr>
            </thead>
            <tbody>
              {shown.map((pod) => (
                <Row key={pod.metadata.uid} pod={pod} now={now} onOpen={onOpen} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
}

function Row({ pod, now, onOpen }: { pod: PodObject; now: number; onOpen: (pod: PodObject) => void }) {
  const created = Date.parse(pod.metadata.creationTimestamp ?? '');
  return (
    <tr data-pod={pod.metadata.name}>
      <td>{pod.metadata.namespace}</td>
      <td class="name">{pod.metadata.name}</td>
      <td>
        <span class={`badge ${podTone(pod)}`}>{podStatus(pod)}</span>
      </td>
      <td>{readiness(pod)}</td>
      <td>{restarts(pod)}</td>
      <td>{pod.spec.nodeName ?? '–'}</td>
      <td>{pod.status?.podIP ?? '–'}</td>
      <td>{Number.isNaN(created) ? '' : age((now - created) / 1000)}</td>
      <td>
        <button type="button" onClick={() => onOpen(pod)}>
          Logs
        </button>
      </td>
    </tr>
  );
}
