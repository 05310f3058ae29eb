import type { Pod, PodStatus } from '../../api/types/core-v1.ts';
import type { DesiredChange, DesiredState, Reporter } from '../ports.ts';
import { CONFIG_MIRROR, isMirror, isStaticUid } from './manifest.ts';

const nameOf = ({ metadata }: Pod): string => `${metadata.namespace}/${metadata.name}`;

/**
 * What the server and the directory of static pods want together. Copies of static pods that come from the server are
 * never run: they only say under which uid the server knows them, and reports go there.
 *
 * A changed manifest is another pod of the same name: it begins when the one before has ended (`gone`).
 */
export class StaticDesired implements DesiredState, Reporter {
  private readonly server: DesiredState;
  private readonly reporter: Reporter;
  private readonly runs: (uid: string) => boolean;
  private readonly listeners: ((change: DesiredChange) => void)[] = [];
  private readonly mirrorListeners: (() => void)[] = [];
  /** By uid; those that wait for their predecessor too. */
  private statics = new Map<string, Pod>();
  /** uid that waits -> uid that has to end first. */
  private readonly waiting = new Map<string, string>();
  /** By static uid: what was reported while the server had no copy of the pod. */
  private readonly unreported = new Map<string, PodStatus>();
  private known = false;
  private whole = false;

  constructor(options: {
    server: DesiredState;
    reporter: Reporter;
    /** Is anything left of the pod on this board? */
    runs: (uid: string) => boolean;
  }) {
    this.server = options.server;
    this.reporter = options.reporter;
    this.runs = options.runs;
  }

  /** Begins to follow the server. */
  start(): void {
    this.server.onChange((change) => this.serverChanged(change));
  }

  /** All static pods as they are now. */
  set(pods: readonly Pod[]): void {
    const before = this.statics;
    this.statics = new Map(pods.map((pod) => [pod.metadata.uid ?? '', pod]));
    this.known = true;
    for (const [uid, pod] of before) {
      if (this.statics.has(uid)) continue;
      this.waiting.delete(uid);
      this.unreported.delete(uid);
      const successor = pods.find((each) => nameOf(each) === nameOf(pod));
      if (successor && this.runs(uid)) this.waiting.set(successor.metadata.uid ?? '', uid);
      this.emit({ kind: 'pod', uid });
    }
    for (const uid of this.statics.keys()) {
      if (!before.has(uid) && !this.waiting.has(uid)) this.emit({ kind: 'pod', uid });
    }
    this.mirrorsChanged();
  }

  /** Nothing is left of a pod: its successor may begin. */
  gone(uid: string): void {
    for (const [successor, predecessor] of [...this.waiting]) {
      if (predecessor !== uid) continue;
      this.waiting.delete(successor);
      this.emit({ kind: 'pod', uid: successor });
    }
    this.mirrorsChanged();
  }

  /** Static pods or their copies have changed. */
  onMirrors(listener: () => void): void {
    this.mirrorListeners.push(listener);
  }

  staticPods(): readonly Pod[] {
    return [...this.statics.values()];
  }

  /** The copies that the server has. */
  mirrors(): readonly Pod[] {
    return this.server.pods().filter(isMirror);
  }

  /** The server has said, to this process, which copies it has. */
  get heard(): boolean {
    return this.whole;
  }

  /** The uid that a pod runs under here, of a uid that the server knows it by. */
  localUid(uid: string): string {
    const mirror = this.server.pod(uid);
    return (mirror && isMirror(mirror) && mirror.metadata.annotations?.[CONFIG_MIRROR]) || uid;
  }

  /** The uid that the server knows a pod by; undefined while it has no copy. */
  serverUid(uid: string): string | undefined {
    return isStaticUid(uid) ? this.mirrorOf(uid)?.metadata.uid : uid;
  }

  // --- DesiredState ---

  pods(): readonly Pod[] {
    return [
      ...this.server.pods().filter((pod) => !isMirror(pod)),
      ...this.staticPods().filter(({ metadata }) => !this.waiting.has(metadata.uid ?? '')),
    ];
  }

  pod(uid: string): Pod | undefined {
    if (this.waiting.has(uid)) return undefined;
    const own = this.statics.get(uid);
    if (own) return own;
    const pod = this.server.pod(uid);
    return pod && !isMirror(pod) ? pod : undefined;
  }

  disowned(uid: string): boolean {
    return isStaticUid(uid) ? this.known && !this.statics.has(uid) : this.server.disowned(uid);
  }

  onChange(listener: (change: DesiredChange) => void): void {
    this.listeners.push(listener);
  }

  get complete(): boolean {
    return this.server.complete;
  }

  objection: DesiredState['objection'] = (uid) => this.server.objection(uid);
  configMap: DesiredState['configMap'] = (namespace, name) => this.server.configMap(namespace, name);
  secret: DesiredState['secret'] = (namespace, name) => this.server.secret(namespace, name);
  volumes: DesiredState['volumes'] = () => this.server.volumes();
  services: DesiredState['services'] = () => this.server.services();
  nodes: DesiredState['nodes'] = () => this.server.nodes();
  cluster: DesiredState['cluster'] = () => this.server.cluster();

  // --- Reporter ---

  podStatus(pod: Pod, status: PodStatus): void {
    const uid = pod.metadata.uid ?? '';
    if (!isStaticUid(uid)) {
      this.reporter.podStatus(pod, status);
      return;
    }
    const mirror = this.mirrorOf(uid);
    if (mirror) this.reporter.podStatus(mirror, status);
    this.unreported.set(uid, status);
  }

  podGone(pod: Pod, status: PodStatus): void {
    // The end of a static pod is the end of its manifest: its copy is deleted, nothing is reported.
    if (!isStaticUid(pod.metadata.uid ?? '')) this.reporter.podGone(pod, status);
  }

  event: Reporter['event'] = (event) => this.reporter.event(event);

  private mirrorOf(uid: string): Pod | undefined {
    return this.mirrors().find(({ metadata }) => metadata.annotations?.[CONFIG_MIRROR] === uid);
  }

  private serverChanged(change: DesiredChange): void {
    if (change.kind === 'pod') {
      const pod = this.server.pod(change.uid);
      if (pod && isMirror(pod)) {
        const uid = pod.metadata.annotations?.[CONFIG_MIRROR] ?? '';
        const status = this.unreported.get(uid);
        if (status && this.statics.has(uid)) this.reporter.podStatus(pod, status);
        this.mirrorsChanged();
        return;
      }
      if (!pod) this.mirrorsChanged();
    } else if (change.kind === 'whole') {
      this.whole = true;
      this.mirrorsChanged();
    }
    this.emit(change);
  }

  private mirrorsChanged(): void {
    for (const listener of this.mirrorListeners) listener();
  }

  private emit(change: DesiredChange): void {
    for (const listener of this.listeners) listener(change);
  }
}
