import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NODES, PODS } from '../../src/api/kinds.ts';
import type { Toleration } from '../../src/api/types/core-v1.ts';
import type { NodeLife, NodeLiveness } from '../../src/client/boards.ts';
import { NodeMonitor } from '../../src/health/node-monitor.ts';
import { APIS, ControlPlane } from '../support/control-plane.ts';

describe.each(APIS)('on the %s API', (api) => {
  /** Boards that send a heartbeat every ten seconds while they are on, and write their node's status as the bus does. */
  class Boards implements NodeLiveness {
    listeningSince = 0;
    private readonly lives = new Map<string, NodeLife>();
    private readonly listeners = new Set<(node: string) => void>();
    private readonly plane: ControlPlane;
    private readonly on = new Set<string>();

    constructor(plane: ControlPlane) {
      this.plane = plane;
      plane.clock.every(10_000, () => {
        for (const name of this.on) this.beat(name);
      });
    }

    of(node: string): NodeLife | undefined {
      return this.lives.get(node);
    }

    onChange(listener: (node: string) => void): () => void {
      this.listeners.add(listener);
      return () => this.listeners.delete(listener);
    }

    async connect(name: string): Promise<void> {
      this.on.add(name);
      this.beat(name);
      const node = plane.client.peek(NODES, undefined, name);
      if (node) {
        const ready = { type: 'Ready', status: 'True', reason: 'KubeletReady', message: 'ready' };
        await plane.client.updateStatus(NODES, { ...node, status: { ...node.status, conditions: [ready] } });
      }
      await plane.settle();
    }

    /** The network hangs: no will comes, only silence. */
    silence(name: string): void {
      this.on.delete(name);
    }

    /** The broker publishes the last will. */
    async die(name: string): Promise<void> {
      this.on.delete(name);
      this.set(name, false);
      await this.plane.settle();
    }

    /** The server was started again and knows nothing. */
    forget(): void {
      this.lives.clear();
      this.listeningSince = this.plane.clock.monotonic();
    }

    private beat(name: string): void {
      this.set(name, true);
    }

    private set(name: string, connected: boolean): void {
      const now = this.plane.clock.monotonic();
      const before = this.lives.get(name);
      const changed = before?.connected !== connected;
      this.lives.set(name, {
        connected,
        lastSeen: connected ? now : (before?.lastSeen ?? 0),
        since: changed || !before ? now : before.since,
      });
      if (changed) for (const listener of this.listeners) listener(name);
    }
  }

  let plane: ControlPlane;
  let boards: Boards;
  const seconds = (count: number) => plane.clock.advance(count * 1000);
  const monitor = (context: ControlPlane['context']) => new NodeMonitor({ ...context, liveness: boards });

  beforeEach(async () => {
    plane = await ControlPlane.open(api);
    boards = new Boards(plane);
    // Time 0 would read as never seen.
    await seconds(1);
    for (const name of ['a', 'b', 'c']) {
      await plane.node(name);
      await boards.connect(name);
    }
    await plane.start(monitor);
  });
  afterEach(() => plane.stop());

  const ready = (name: string) =>
    plane.client.peek(NODES, undefined, name)?.status?.conditions?.find(({ type }) => type === 'Ready');
  const taints = (name: string): string[] =>
    (plane.client.peek(NODES, undefined, name)?.spec?.taints ?? []).map(
      ({ key, effect }) => `${key}:${effect}`,
    );
  const UNREACHABLE = 'node.kubernetes.io/unreachable';

  async function pod(name: string, node: string, tolerations: Toleration[] = []): Promise<void> {
    const defaults: Toleration[] = [
      { key: UNREACHABLE, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 },
      {
        key: 'node.kubernetes.io/not-ready',
        operator: 'Exists',
        effect: 'NoExecute',
        tolerationSeconds: 300,
      },
    ];
    await plane.client.create(PODS, 'default', {
      metadata: { name },
      spec: {
        nodeName: node,
        containers: [{ name: 'web', image: 'web' }],
        tolerations: tolerations.length > 0 ? tolerations : defaults,
      },
    });
    await plane.settle();
  }
  const isGone = (name: string): boolean =>
    plane.client.peek(PODS, 'default', name)?.metadata.deletionTimestamp !== undefined;

  describe('a board that is lost', () => {
    it('leaves its node alone while heartbeats come', async () => {
      await seconds(3600);
      expect(ready('a')?.status).toBe('True');
      expect(taints('a')).toEqual([]);
    });

    it('is noticed seconds after its last will', async () => {
      await boards.die('a');
      await seconds(4);
      expect(ready('a')?.status).toBe('True');
      await seconds(2);
      expect(ready('a')).toMatchObject({
        status: 'Unknown',
        reason: 'NodeStatusUnknown',
        message: 'Kubelet stopped posting node status.',
      });
      expect(taints('a')).toEqual([`${UNREACHABLE}:NoSchedule`, `${UNREACHABLE}:NoExecute`]);
      expect(taints('b')).toEqual([]);
    });

    it('is noticed by its silence within the grace period', async () => {
      boards.silence('a');
      await seconds(39);
      expect(ready('a')?.status).toBe('True');
      await seconds(12);
      expect(ready('a')?.status).toBe('Unknown');
    });

    it('is not mistaken for an agent that is started again', async () => {
      await boards.die('a');
      await seconds(3);
      await boards.connect('a');
      await seconds(60);
      expect(ready('a')?.status).toBe('True');
    });

    it('loses its pods after the time they tolerate, and the node heals when it is back', async () => {
      await pod('web', 'a');
      await pod('daemon', 'a', [{ operator: 'Exists' }]);
      await pod('other', 'b');
      plane.kubelet.reachable = (node) => node !== 'a';
      await boards.die('a');
      await seconds(10);
      const conditions = plane.client.peek(PODS, 'default', 'web')?.status?.conditions;
      expect(conditions?.find(({ type }) => type === 'Ready')?.status).toBe('False');
      await seconds(290);
      expect(isGone('web')).toBe(false);
      await seconds(10);
      expect([isGone('web'), isGone('daemon'), isGone('other')]).toEqual([true, false, false]);
      expect(plane.events()).toContain('TaintManagerEviction: Marking for deletion Pod default/web');
      await boards.connect('a');
      expect(taints('a')).toEqual([]);
    });

    it('keeps its pods when it is back in time', async () => {
      await pod('web', 'a');
      await boards.die('a');
      await seconds(200);
      await boards.connect('a');
      await seconds(600);
      expect(isGone('web')).toBe(false);
    });

    it('evicts nobody when all boards vanish at once', async () => {
      await pod('web', 'a');
      plane.kubelet.reachable = () => false;
      for (const name of ['a', 'b', 'c']) await boards.die(name);
      await seconds(3600);
      expect(ready('a')?.status).toBe('Unknown');
      expect(taints('a')).toEqual([`${UNREACHABLE}:NoSchedule`]);
      expect(isGone('web')).toBe(false);
      // One comes back: the others are really missing, and their time begins now.
      await boards.connect('b');
      await seconds(290);
      expect(isGone('web')).toBe(false);
      await seconds(20);
      expect(isGone('web')).toBe(true);
    });

    it('waits its turn: one of a zone every ten seconds loses its pods', async () => {
      for (const name of ['d', 'e', 'f']) {
        await plane.node(name);
        await boards.connect(name);
      }
      await pod('on-a', 'a');
      const evicting = (name: string): boolean => taints(name).includes(`${UNREACHABLE}:NoExecute`);
      await boards.die('a');
      await boards.die('b');
      await seconds(6);
      expect([evicting('a'), evicting('b')].filter(Boolean)).toHaveLength(1);
      expect(taints('a')).toContain(`${UNREACHABLE}:NoSchedule`);
      expect(taints('b')).toContain(`${UNREACHABLE}:NoSchedule`);
      await seconds(10);
      expect([evicting('a'), evicting('b')]).toEqual([true, true]);
    });

    it('keeps its pods while most of its zone is down; those of a zone that is down as a whole go', async () => {
      for (const name of ['d', 'e', 'f', 'g']) {
        await plane.node(name);
        await boards.connect(name);
      }
      for (const name of ['f', 'g']) {
        const node = plane.client.peek(NODES, undefined, name);
        if (!node) throw new Error(name);
        const labels = { ...node.metadata.labels, 'topology.kubernetes.io/zone': 'attic' };
        await plane.client.update(NODES, { ...node, metadata: { ...node.metadata, labels } });
      }
      const evicting = () =>
        ['a', 'b', 'c', 'd', 'e', 'f', 'g'].filter((name) =>
          taints(name).includes(`${UNREACHABLE}:NoExecute`),
        );
      for (const name of ['a', 'b', 'c', 'f', 'g']) boards.silence(name);
      await seconds(120);
      expect(evicting()).toEqual(['f', 'g']);
      await boards.connect('a');
      await seconds(120);
      // Two of five: no disruption any more.
      expect(evicting()).toEqual(['b', 'c', 'f', 'g']);
    });

    it('gets its time again when the server was away itself', async () => {
      await pod('web', 'a');
      await boards.die('a');
      await seconds(250);
      await plane.stop();
      await seconds(3600);
      boards.forget();
      await plane.start(monitor);
      await seconds(50);
      expect(isGone('web')).toBe(false);
      await boards.connect('a');
      await boards.connect('b');
      await boards.connect('c');
      await seconds(3600);
      expect(isGone('web')).toBe(false);
    });

    it('is tainted for what it reports', async () => {
      const node = plane.client.peek(NODES, undefined, 'a');
      if (!node) throw new Error('no node');
      await plane.client.updateStatus(NODES, {
        ...node,
        status: {
          ...node.status,
          conditions: [
            { type: 'Ready', status: 'False', reason: 'KubeletNotReady' },
            { type: 'MemoryPressure', status: 'True' },
          ],
        },
      });
      await plane.client.patch(NODES, undefined, 'b', {
        type: 'merge',
        body: { spec: { unschedulable: true } },
      });
      await plane.settle();
      expect(taints('a')).toEqual([
        'node.kubernetes.io/not-ready:NoSchedule',
        'node.kubernetes.io/memory-pressure:NoSchedule',
        'node.kubernetes.io/not-ready:NoExecute',
      ]);
      expect(taints('b')).toEqual(['node.kubernetes.io/unschedulable:NoSchedule']);
    });

    it('takes no pods before a new node has said that it is ready', async () => {
      await plane.client.create(NODES, undefined, { metadata: { name: 'd' } });
      await plane.settle();
      expect(taints('d')).toEqual(['node.kubernetes.io/not-ready:NoSchedule']);
      await boards.connect('d');
      expect(taints('d')).toEqual([]);
    });

    it('a taint set by hand drives out at once what does not tolerate it', async () => {
      await pod('web', 'a');
      plane.kubelet.reachable = () => false;
      await plane.client.patch(NODES, undefined, 'a', {
        type: 'merge',
        body: { spec: { taints: [{ key: 'mine', effect: 'NoExecute' }] } },
      });
      await plane.settle();
      expect(isGone('web')).toBe(true);
      expect(taints('a')).toEqual(['mine:NoExecute']);
    });
  });
});
