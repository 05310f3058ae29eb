import { localPathDirectory, VOLUME_NODE } from '../../src/api/local-path.ts';
import { claimsUsed } from '../../src/api/pod-references.ts';
import type { PersistentVolume, PersistentVolumeClaim, Pod } from '../../src/api/types/core-v1.ts';
import type { Board } from './board.ts';

/** Claims that pods use are bound to a volume of their board and it to them; nothing else is kept. */
export function storageProblems(state: {
  pods: readonly Pod[];
  claims: readonly PersistentVolumeClaim[];
  volumes: readonly PersistentVolume[];
  /** Those whose nodes were always there: of the others directories may be left. */
  boards: readonly Board[];
}): string[] {
  const { pods, claims, volumes, boards } = state;
  return [
    ...pods.flatMap((pod) => claimsUsed(pod).flatMap((key) => claimProblems(pod, key, claims, volumes))),
    ...claims.flatMap(({ metadata }) =>
      metadata.deletionTimestamp === undefined ? [] : [`claim ${metadata.name} is still being deleted`],
    ),
    ...volumes.flatMap((volume) => volumeProblems(volume, claims)),
    ...boards.flatMap((board) => directoryProblems(board, volumes)),
  ];
}

function claimProblems(
  pod: Pod,
  key: string,
  claims: readonly PersistentVolumeClaim[],
  volumes: readonly PersistentVolume[],
): string[] {
  const title = `claim ${key} of pod ${pod.metadata.name}`;
  const claim = claims.find(({ metadata }) => `${metadata.namespace}/${metadata.name}` === key);
  if (!claim) return [`${title} is missing`];
  if (claim.status?.phase !== 'Bound') return [`${title} is ${claim.status?.phase}`];
  const volume = volumes.find(({ metadata }) => metadata.name === claim.spec?.volumeName);
  if (!volume) return [`${title} is bound to ${claim.spec?.volumeName}, which is not there`];
  const home = volume.metadata.annotations?.[VOLUME_NODE];
  return home === pod.spec?.nodeName
    ? []
    : [`${title} lies on ${home}, and the pod is on ${pod.spec?.nodeName}`];
}

function volumeProblems(
  { metadata, spec, status }: PersistentVolume,
  claims: readonly PersistentVolumeClaim[],
): string[] {
  const title = `volume ${metadata.name}`;
  if (metadata.deletionTimestamp !== undefined) return [`${title} is still being deleted`];
  if (status?.phase !== 'Bound') return [`${title} is ${status?.phase}`];
  const claim = claims.find(({ metadata: { uid } }) => uid === spec?.claimRef?.uid);
  if (!claim) return [`${title} is kept for a claim that is gone`];
  return claim.spec?.volumeName === metadata.name
    ? []
    : [`${title} is of ${claim.metadata.name}, which has ${claim.spec?.volumeName}`];
}

function directoryProblems(board: Board, volumes: readonly PersistentVolume[]): string[] {
  const kept = new Set(
    volumes
      .filter(({ metadata }) => metadata.annotations?.[VOLUME_NODE] === board.name)
      .map((volume) => localPathDirectory(volume)),
  );
  return [...board.disk.directories]
    .filter((path) => !kept.has(path))
    .map((path) => `${board.name} still has the directory ${path}`);
}
