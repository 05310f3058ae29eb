import { runsOn } from './platform.ts';

export interface OciDescriptor {
  mediaType?: string;
  digest?: string;
  platform?: { architecture?: string; os?: string };
  annotations?: Record<string, string>;
}

interface OciIndex {
  manifests?: OciDescriptor[];
}

interface OciManifest extends OciIndex {
  config?: OciDescriptor;
  layers?: OciDescriptor[];
}

/** One entry of docker-save's manifest.json. */
export interface DockerManifest {
  Config: string;
  RepoTags: string[];
  Layers: string[];
}

const blob = (descriptor: OciDescriptor | undefined): string =>
  `blobs/${(descriptor?.digest ?? '').replace(':', '/')}`;

/**
 * What docker-save would have said of an OCI layout: the files are the same, only the table of contents differs. Of an
 * image for several architectures the one for this board is taken.
 */
export function toDockerManifest(
  index: unknown,
  options: { document: (descriptor: OciDescriptor) => unknown; architecture: string },
): DockerManifest[] {
  const found: DockerManifest[] = [];
  for (const descriptor of (index as OciIndex | null)?.manifests ?? []) {
    const manifest = imageIn(descriptor, options, 0);
    if (!manifest?.config) continue;
    const name = nameOf(descriptor);
    found.push({
      Config: blob(manifest.config),
      RepoTags: name === undefined ? [] : [name],
      Layers: (manifest.layers ?? []).map(blob),
    });
  }
  return found;
}

/** The manifest itself, or the one among an index's for this board. */
function imageIn(
  descriptor: OciDescriptor,
  { document, architecture }: { document: (descriptor: OciDescriptor) => unknown; architecture: string },
  depth: number,
): OciManifest | undefined {
  const content = document(descriptor) as OciManifest | undefined;
  if (!content?.manifests) return content;
  if (depth > 2) return undefined;
  const images = content.manifests.filter(({ platform }) => platform?.os !== 'unknown');
  const exact = images.find(({ platform }) => platform?.architecture === architecture);
  const fitting =
    exact ?? images.find(({ platform }) => runsOn(architecture, platform?.architecture ?? '', []));
  return fitting && imageIn(fitting, { document, architecture }, depth + 1);
}

/** containerd and BuildKit write the whole name, skopeo what it was told; a bare tag names nothing. */
function nameOf({ annotations = {} }: OciDescriptor): string | undefined {
  const whole = annotations['io.containerd.image.name'];
  if (whole) return whole;
  const name = annotations['org.opencontainers.image.ref.name'];
  return name !== undefined && /[:/]/.test(name) ? name : undefined;
}
