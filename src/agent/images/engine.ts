import type { Readable } from 'node:stream';
import type { RegistryAuth } from '../runtime.ts';

/**
 * What the care for images needs of the engine beyond the ContainerRuntime: the whole of its images, whoever brought
 * them. Every call ends within its own deadline; errors are RuntimeError.
 */
export interface ImageEngine {
  list(): Promise<ListedImage[]>;
  /** Ids of the images that any container on the engine is made from, ours or not. */
  inUse(): Promise<ReadonlySet<string>>;
  /** Takes away one name (or, by id, a nameless image). False when something on the engine still needs it. */
  remove(reference: string): Promise<boolean>;
  /** Gives the image `source` the further name `target`. */
  tag(source: string, target: string): Promise<void>;
  /** Reads a docker-save archive (also compressed with gzip). The names or ids that were loaded; throws its refusal. */
  load(archive: Readable, signal: AbortSignal): Promise<string[]>;
  /** The architectures that the registry has the image for; throws when the registry does not say. */
  architectures(reference: string, auth: RegistryAuth | undefined): Promise<string[]>;
  /** May the engine speak plain HTTP with this registry, or without checking its certificate? */
  allowsInsecure(host: string): Promise<boolean>;
  /** The layers on this machine's disk, the uppermost first; undefined when the engine's storage has no such folders. */
  layers(imageId: string): Promise<string[] | undefined>;
  /** The first bytes of the program that a container starts; undefined when there is none. */
  programHead(containerId: string, bytes: number): Promise<Buffer | undefined>;
  /** The image's whole root file system as a tar, from a container that is never started. */
  export(imageId: string): Promise<{ tar: Readable; done(): Promise<void> }>;
}

export interface ListedImage {
  /** `sha256:…` of the configuration. */
  id: string;
  /** As Docker shows them: `web:1`, `registry.example/web:1`. */
  tags: string[];
  /** `web@sha256:…` */
  digests: string[];
  sizeBytes: number;
}
