import type { Pod } from '../../api/types/core-v1.ts';
import type { PodFacts } from './facts.ts';
import type { ObservedPod } from './observe.ts';

/** The pod that steps are about: `pod` is undefined when only the engine knows of it. */
export interface PodSubject {
  uid: string;
  pod: Pod | undefined;
  facts: PodFacts;
  observed: () => ObservedPod;
}
