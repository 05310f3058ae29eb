import type {
  Deployment,
  DeploymentCondition,
  DeploymentStatus,
  ReplicaSet,
} from '../../../api/types/apps-v1.ts';
import type { Pod } from '../../../api/types/core-v1.ts';
import { findCondition } from '../shared/conditions.ts';
import { isEnded } from '../shared/pods.ts';
import {
  byCreation,
  type Draft,
  draftChanged,
  draftOf,
  draftResult,
  isRolling,
  newReplicaSet,
  refreshCurrent,
  revisionOf,
  splitReplicaSets,
} from './replica-sets.ts';
import { currentSize, growCurrent, isScaling, scale, shrinkAll, shrinkOld, sumReplicas } from './rolling.ts';
import { baseStatus, hasDeadline, isComplete, rolloutStatus, setCondition, untilDeadline } from './status.ts';

export type DeploymentStep =
  | { do: 'create'; replicaSet: ReturnType<typeof newReplicaSet> }
  | { do: 'update'; replicaSet: ReplicaSet; scaled?: { from: number; to: number } }
  | { do: 'delete'; replicaSet: ReplicaSet };

export interface DeploymentDecision {
  steps: DeploymentStep[];
  status: DeploymentStatus;
  /** The revision of the newest ReplicaSet, to be shown on the Deployment; undefined when it is, or there is none. */
  revision: string | undefined;
  /** Look again after so many ms: the progress deadline. */
  again: number | undefined;
}

/**
 * One pass over a Deployment. Pure; the pass after the next change goes on from there, so that every step is taken on
 * what was really reached.
 */
export function decideDeployment(input: {
  deployment: Deployment;
  /** All that the Deployment controls. */
  replicaSets: readonly ReplicaSet[];
  /** The pods of a ReplicaSet; asked only by Recreate. */
  podsOf: (replicaSet: ReplicaSet) => readonly Pod[];
  now: number;
}): DeploymentDecision {
  return new Pass(input).run();
}

class Pass {
  private readonly deployment: Deployment;
  private readonly podsOf: (replicaSet: ReplicaSet) => readonly Pod[];
  private readonly now: number;
  private readonly old: Draft[];
  private current: Draft | undefined;
  private conditions: DeploymentCondition[];
  private readonly steps: DeploymentStep[] = [];
  private revision: string | undefined;

  constructor(input: Parameters<typeof decideDeployment>[0]) {
    this.deployment = input.deployment;
    this.podsOf = input.podsOf;
    this.now = input.now;
    const { current, old } = splitReplicaSets(input.deployment, input.replicaSets);
    this.current = current && draftOf(current);
    this.old = old.map(draftOf);
    this.conditions = [...(input.deployment.status?.conditions ?? [])];
  }

  run(): DeploymentDecision {
    const { spec, metadata } = this.deployment;
    if (metadata.deletionTimestamp !== undefined) return this.finish(this.base());
    this.notePause();
    if (spec?.paused) {
      this.ensureCurrent(false);
      scale(this.deployment, this.current, this.old);
      this.cleanUp();
      return this.finish(this.base());
    }
    if (isScaling(this.deployment, this.all)) {
      this.ensureCurrent(false);
      scale(this.deployment, this.current, this.old);
      return this.finish(this.base());
    }
    if (isRolling(this.deployment)) this.roll();
    else this.recreate();
    return this.finish(this.rollout());
  }

  private get all(): Draft[] {
    return this.current ? [...this.old, this.current] : [...this.old];
  }

  private roll(): void {
    this.ensureCurrent(true);
    if (!this.current) return;
    if (growCurrent(this.deployment, this.current, this.all)) return;
    if (shrinkOld(this.deployment, this.current, this.old)) return;
    if (isComplete(this.deployment, this.deployment.status ?? {})) this.cleanUp();
  }

  private recreate(): void {
    this.ensureCurrent(false);
    if (shrinkAll(this.deployment, this.old)) return;
    if (this.oldPodsRun()) return;
    this.ensureCurrent(true);
    if (this.current) growCurrent(this.deployment, this.current, this.all);
    if (isComplete(this.deployment, this.deployment.status ?? {})) this.cleanUp();
  }

  private oldPodsRun(): boolean {
    if (this.old.some(({ source }) => (source.status?.replicas ?? 0) > 0)) return true;
    return this.old.some(({ source }) => this.podsOf(source).some((pod) => !isEnded(pod)));
  }

  /** Finds the ReplicaSet of the present template and brings it up to date, or plans to make it. */
  private ensureCurrent(create: boolean): void {
    const revision = Math.max(0, ...this.old.map(({ annotations }) => revisionOf(annotations))) + 1;
    if (this.current) {
      refreshCurrent(this.current, this.deployment, revision);
      this.revision = String(revisionOf(this.current.annotations));
      if (hasDeadline(this.deployment) && !findCondition(this.conditions, 'Progressing')) {
        this.progress('FoundNewReplicaSet', `Found new replica set "${this.current.source.metadata.name}"`);
      }
      return;
    }
    if (!create || this.steps.some((step) => step.do === 'create')) return;
    const size = currentSize(this.deployment, 0, sumReplicas(this.old));
    const replicaSet = newReplicaSet(this.deployment, revision, size);
    this.steps.push({ do: 'create', replicaSet });
    this.revision = String(revision);
    if (hasDeadline(this.deployment)) {
      this.progress('NewReplicaSetCreated', `Created new replica set "${replicaSet.metadata.name}"`);
    }
  }

  private progress(reason: string, message: string): void {
    this.conditions = setCondition(
      this.conditions,
      { type: 'Progressing', status: 'True', reason, message },
      this.now,
    );
  }

  private notePause(): void {
    if (!hasDeadline(this.deployment)) return;
    const progressing = findCondition(this.conditions, 'Progressing');
    if (progressing?.reason === 'ProgressDeadlineExceeded') return;
    const noted = progressing?.reason === 'DeploymentPaused';
    if (Boolean(this.deployment.spec?.paused) === noted) return;
    const [reason, message] = noted
      ? ['DeploymentResumed', 'Deployment is resumed']
      : ['DeploymentPaused', 'Deployment is paused'];
    this.conditions = setCondition(
      this.conditions,
      { type: 'Progressing', status: 'Unknown', reason, message },
      this.now,
    );
  }

  /** Old ReplicaSets beyond the history limit, lowest revision first, once nothing of them is left. */
  private cleanUp(): void {
    const limit = this.deployment.spec?.revisionHistoryLimit ?? 10;
    if (limit === 2147483647) return;
    const candidates = this.old
      .filter(({ source }) => source.metadata.deletionTimestamp === undefined)
      .sort(
        (a, b) =>
          revisionOf(a.source.metadata.annotations) - revisionOf(b.source.metadata.annotations) ||
          byCreation(a.source, b.source),
      );
    for (const { source, replicas } of candidates.slice(0, Math.max(0, candidates.length - limit))) {
      const behind = (source.metadata.generation ?? 0) > (source.status?.observedGeneration ?? 0);
      if (replicas === 0 && (source.status?.replicas ?? 0) === 0 && !behind) {
        this.steps.push({ do: 'delete', replicaSet: source });
      }
    }
  }

  private base(): DeploymentStatus {
    return baseStatus(this.statusInput());
  }

  private rollout(): DeploymentStatus {
    return rolloutStatus(this.statusInput());
  }

  private statusInput(): Parameters<typeof baseStatus>[0] {
    const { deployment, current, all, conditions, now } = this;
    return { deployment, current, all, conditions, now };
  }

  private finish(status: DeploymentStatus): DeploymentDecision {
    const updates = this.all.filter(draftChanged).map((draft): DeploymentStep => {
      const from = draft.source.spec?.replicas ?? 1;
      return {
        do: 'update',
        replicaSet: draftResult(draft),
        ...(from === draft.replicas ? {} : { scaled: { from, to: draft.replicas } }),
      };
    });
    const shown = revisionOf(this.deployment.metadata.annotations);
    return {
      steps: [...updates, ...this.steps],
      status,
      revision: shown === Number(this.revision) ? undefined : this.revision,
      again: untilDeadline(this.deployment, status, this.now),
    };
  }
}
