import { useEffect, useRef, useState } from 'preact/hooks';
import type { Api } from './api.ts';
import type { PodObject } from './model.ts';

/** A browser tab should not grow with a chatty pod. */
const MAX_LINES = 2000;

export function Logs({ api, pod, onClose }: { api: Api; pod: PodObject; onClose: () => void }) {
  const [container, setContainer] = useState(pod.spec.containers[0]?.name ?? '');
  const [lines, setLines] = useState<readonly string[]>([]);
  const [note, setNote] = useState('');
  const output = useRef<HTMLPreElement>(null);

  useEffect(() => {
    const abort = new AbortController();
    setLines([]);
    setNote('');
    void (async () => {
      try {
        for await (const line of api.logs(
          pod.metadata.namespace ?? '',
          pod.metadata.name,
          container,
          abort.signal,
        )) {
          setLines((before) => [...before.slice(-(MAX_LINES - 1)), line]);
        }
        setNote('The log has ended.');
      } catch (error) {
        if (!abort.signal.aborted) setNote((error as Error).message);
      }
    })();
    return () => abort.abort();
  }, [api, pod.metadata.uid, container]);
  useEffect(() => {
    output.current?.scrollTo(0, output.current.scrollHeight);
  }, [lines]);

  return (
    <section class="logs">
      <header>
        <h2>
          {pod.metadata.namespace}/{pod.metadata.name}
        </h2>
        <select value={container} onChange={(event) => setContainer(event.currentTarget.value)}>
          {pod.spec.containers.map(({ name }) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
        <button type="button" onClick={onClose}>
          Close
        </button>
      </header>
      <pre ref={output}>{lines.join('\n')}</pre>
      {note === '' ? null : <p class="empty">{note}</p>}
    </section>
  );
}
