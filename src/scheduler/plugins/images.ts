import { canonicalImage } from '../image-hints.ts';
import { type FilterPlugin, HIGHEST_SCORE, never, type ScorePlugin } from './plugin.ts';

const ARCHITECTURE = 'kubernetes.io/arch';
const MIB = 1024 * 1024;
/** Below this much nothing is gained, above it no more (kube-scheduler's, for one container). */
const LEAST_SIZE = 23 * MIB;
const MOST_SIZE = 1000 * MIB;

/** Keeps pods off boards that their images are not made for. Only what is certain counts. */
export const imageArchitecture: FilterPlugin = {
  name: 'ImageArchitecture',
  helpedBy: ['node-added', 'node-labels', 'image'],
  prepare(info, { images }) {
    const { containers = [], initContainers = [] } = info.pod.spec ?? {};
    let lacking: Set<string> | undefined;
    for (const list of [containers, initContainers]) {
      for (const { image } of list) {
        for (const architecture of (image && images.lacking(image)) || []) {
          lacking ??= new Set();
          lacking.add(architecture);
        }
      }
    }
    if (!lacking) return undefined;
    const wrong = lacking;
    const rejection = never("node(s) had a CPU architecture that the pod's images are not made for");
    return (node) => (wrong.has(node.labels[ARCHITECTURE] ?? '') ? rejection : undefined);
  },
};

/** Prefers nodes that hold the images, the less the more nodes hold them too, so that not all pods go to one. */
export const imageLocality: ScorePlugin = {
  name: 'ImageLocality',
  weight: 1,
  prepare(info, feasible, { snapshot }) {
    if (!feasible.some(({ images }) => images !== undefined)) return undefined;
    const wanted = (info.pod.spec?.containers ?? [])
      .map(({ image = '' }) => namesOf(image).map((name) => ({ name, spread: snapshot.imageSpread(name) })))
      .map((names) => names.filter(({ spread }) => spread > 0))
      .filter((names) => names.length > 0);
    if (wanted.length === 0) return undefined;
    const most = MOST_SIZE * (info.pod.spec?.containers.length ?? 1);
    return ({ images }) => {
      if (!images) return 0;
      let sum = 0;
      for (const names of wanted) {
        for (const { name, spread } of names) {
          const size = images.get(name);
          if (size === undefined) continue;
          sum += size * spread;
          break;
        }
      }
      const bounded = Math.max(LEAST_SIZE, Math.min(most, sum));
      return Math.trunc((HIGHEST_SCORE * (bounded - LEAST_SIZE)) / (most - LEAST_SIZE));
    };
  },
};

/** The names under which a node may list the image. */
function namesOf(image: string): string[] {
  const canonical = canonicalImage(image);
  return [...new Set([image, canonical, `docker.io/library/${canonical}`, `docker.io/${canonical}`])];
}
