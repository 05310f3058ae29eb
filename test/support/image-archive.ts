import { tarOf } from '../../src/agent/docker/pause/tar.ts';
import { digestOf, imageConfig, type TestImage } from './registry.ts';

interface Named {
  name?: string;
  image: TestImage;
}

const file = (name: string, data: Buffer | object) => ({
  name,
  mode: 0o644,
  data: Buffer.isBuffer(data) ? data : Buffer.from(JSON.stringify(data)),
});
const blobOf = (data: Buffer) => file(`blobs/${digestOf(data).replace(':', '/')}`, data);

/** As `docker save` writes it. */
export function dockerArchive(images: readonly Named[]): Buffer {
  const files = images.flatMap(({ image }) => [imageConfig(image), ...image.layers].map(blobOf));
  const manifest = images.map(({ name, image }) => ({
    Config: blobOf(imageConfig(image)).name,
    RepoTags: name === undefined ? null : [name],
    Layers: image.layers.map((layer) => blobOf(layer).name),
  }));
  return tarOf([...unique(files), file('manifest.json', manifest)]);
}

/** An OCI layout with one entry: an index of the images under `name`, as build tools write it. */
export function ociArchive(name: string, images: readonly TestImage[]): Buffer {
  const files: ReturnType<typeof file>[] = [];
  const add = (data: Buffer, mediaType: string) => {
    files.push(blobOf(data));
    return { mediaType, digest: digestOf(data), size: data.length };
  };
  const manifests = images.map((image) => {
    const manifest = {
      schemaVersion: 2,
      config: add(imageConfig(image), 'application/vnd.oci.image.config.v1+json'),
      layers: image.layers.map((layer) => add(layer, 'application/vnd.oci.image.layer.v1.tar')),
    };
    return {
      ...add(Buffer.from(JSON.stringify(manifest)), 'application/vnd.oci.image.manifest.v1+json'),
      platform: { os: 'linux', architecture: image.architecture },
    };
  });
  const index = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests }));
  const entry = {
    ...add(index, 'application/vnd.oci.image.index.v1+json'),
    annotations: { 'io.containerd.image.name': name },
  };
  return tarOf([
    file('oci-layout', { imageLayoutVersion: '1.0.0' }),
    file('index.json', { schemaVersion: 2, manifests: [entry] }),
    ...unique(files),
  ]);
}

function unique<T extends { name: string }>(files: readonly T[]): T[] {
  return [...new Map(files.map((each) => [each.name, each])).values()];
}
