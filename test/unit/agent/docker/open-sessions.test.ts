import { describe, expect, it } from 'vitest';
import { OpenSessions } from '../../../../src/agent/docker/open-sessions.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

function world() {
  const clock = new VirtualClock();
  const running = new Set(['a', 'b']);
  const asked: string[] = [];
  const ended: string[] = [];
  let answers = true;
  const sessions = new OpenSessions({
    clock,
    isRunning: async (id) => {
      asked.push(id);
      if (!answers) throw new Error('the engine is away');
      return running.has(id);
    },
  });
  const open = (id: string): (() => void) => {
    let close: () => void = () => {};
    const closed = new Promise<void>((resolve) => {
      close = resolve;
    });
    sessions.add(id, { containerEnded: () => ended.push(id) }, closed);
    return close;
  };
  const lose = (): void => {
    answers = false;
  };
  return { clock, running, asked, ended, sessions, open, lose };
}

describe('open sessions', () => {
  it('end a second after an event told that their container has ended, and no others', async () => {
    const { clock, running, ended, sessions, open } = world();
    open('a');
    open('b');
    running.delete('a');
    sessions.look('a');
    await clock.advance(900);
    expect(ended).toEqual([]);
    await clock.advance(200);
    expect(ended).toEqual(['a']);
  });

  it('end without an event too', async () => {
    const { clock, running, ended, open } = world();
    open('a');
    running.delete('a');
    await clock.advance(12_000);
    expect(ended).toEqual(['a']);
  });

  it('live on while the engine does not answer', async () => {
    const { clock, running, ended, open, lose } = world();
    open('a');
    running.delete('a');
    lose();
    await clock.advance(60_000);
    expect(ended).toEqual([]);
  });

  it('cost nothing when they are over', async () => {
    const { clock, asked, sessions, open } = world();
    open('a')();
    await clock.advance(1);
    sessions.look('a');
    sessions.look(undefined);
    await clock.advance(60_000);
    expect(asked).toEqual([]);
  });
});
