import './dashboard.css';
import { render } from 'preact';
import { useEffect, useMemo, useState } from 'preact/hooks';
import { Api, ApiError, type BoardReading } from './api.ts';
import { Boards } from './boards.tsx';
import { Logs } from './logs.tsx';
import type { NodeObject, PodObject } from './model.ts';
import { Pods } from './pods.tsx';

const TOKEN_KEY = 'copepod-token';
const BOARDS_INTERVAL_MS = 5000;
const CLOCK_INTERVAL_MS = 1000;

function App() {
  const [token, setToken] = useState(sessionStorage.getItem(TOKEN_KEY) ?? '');
  const [refused, setRefused] = useState('');
  const logIn = (value: string): void => {
    sessionStorage.setItem(TOKEN_KEY, value);
    setRefused('');
    setToken(value);
  };
  const logOut = (why: string): void => {
    sessionStorage.removeItem(TOKEN_KEY);
    setRefused(why);
    setToken('');
  };
  return token === '' ? (
    <LogIn onToken={logIn} refused={refused} />
  ) : (
    <Cluster token={token} onLogOut={logOut} />
  );
}

function LogIn({ onToken, refused }: { onToken: (token: string) => void; refused: string }) {
  const [value, setValue] = useState('');
  return (
    <main class="login">
      <h1>copepod</h1>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (value.trim() !== '') onToken(value.trim());
        }}
      >
        <label for="token">Token</label>
        <input
          id="token"
          type="password"
          autocomplete="off"
          value={value}
          onInput={(event) => setValue(event.currentTarget.value)}
        />
        <button type="submit">Log in</button>
      </form>
      {refused === '' ? null : <p class="bad">{refused}</p>}
      <p class="empty">
        On the server: <code>cat &lt;data-dir&gt;/dashboard-token</code>, or a token made by{' '}
        <code>kubectl create token</code>.
      </p>
    </main>
  );
}

function Cluster({ token, onLogOut }: { token: string; onLogOut: (why: string) => void }) {
  const api = useMemo(() => new Api(token), [token]);
  const [nodes, setNodes] = useState<readonly NodeObject[]>([]);
  const [pods, setPods] = useState<readonly PodObject[]>([]);
  const [readings, setReadings] = useState<ReadonlyMap<string, BoardReading>>(new Map());
  const [trouble, setTrouble] = useState('');
  const [opened, setOpened] = useState<PodObject>();
  const [now, setNow] = useState(Date.now());

  useEffect(() => {
    const abort = new AbortController();
    const onState = (error: Error | undefined): void => {
      if (error instanceof ApiError && error.status === 401) onLogOut('The server does not know this token.');
      else setTrouble(error ? `Not live: ${error.message}` : '');
    };
    void api.follow<NodeObject>('/api/v1/nodes', abort.signal, (items) => setNodes(sorted(items)), onState);
    void api.follow<PodObject>('/api/v1/pods', abort.signal, (items) => setPods(sorted(items)), onState);
    const readBoards = async (): Promise<void> => {
      if (document.hidden) return;
      try {
        const boards = await api.boards(abort.signal);
        setReadings(new Map(boards.map((board) => [board.node, board])));
      } catch (error) {
        if (!abort.signal.aborted) onState(error as Error);
      }
    };
    void readBoards();
    const boardsTimer = setInterval(readBoards, BOARDS_INTERVAL_MS);
    const clockTimer = setInterval(() => setNow(Date.now()), CLOCK_INTERVAL_MS);
    return () => {
      abort.abort();
      clearInterval(boardsTimer);
      clearInterval(clockTimer);
    };
  }, [api]);

  return (
    <>
      <nav>
        <h1>copepod</h1>
        <span class={trouble === '' ? 'good' : 'bad'}>{trouble === '' ? 'live' : trouble}</span>
        <button type="button" onClick={() => onLogOut('')}>
          Log out
        </button>
      </nav>
      <main>
        <h2>Boards</h2>
        <Boards nodes={nodes} readings={readings} pods={pods} />
        <h2>Pods</h2>
        <Pods pods={pods} now={now} onOpen={setOpened} />
        {opened ? <Logs api={api} pod={opened} onClose={() => setOpened(undefined)} /> : null}
      </main>
    </>
  );
}

function sorted<T extends { metadata: { namespace?: string; name: string } }>(
  items: ReadonlyMap<string, T>,
): T[] {
  const key = ({ metadata }: T): string => `${metadata.namespace ?? ''}/${metadata.name}`;
  return [...items.values()].sort((left, right) => key(left).localeCompare(key(right)));
}

const root = document.getElementById('app');
if (root) render(<App />, root);
