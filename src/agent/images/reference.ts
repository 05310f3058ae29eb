/** Distribution's grammar of image references: lower-case path components, optional registry, tag and digest. */
const DOMAIN =
  '(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?';
const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const REFERENCE = new RegExp(
  `^(?:(${DOMAIN})/)?(${COMPONENT}(?:/${COMPONENT})*)(?::([\\w][\\w.-]{0,127}))?(?:@([A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?$`,
);

export interface ImageReference {
  /** As written, with `:latest` when it has neither tag nor digest. */
  reference: string;
  /** What the engine knows it by: of a name with tag and digest only the digest counts. */
  engineName: string;
  /** The registry that credentials are looked up for: `docker.io` for short names. */
  registry: string;
  repository: string;
  tag?: string;
  digest?: string;
}

/** Undefined when the text is not a reference. */
export function parseImageReference(text: string): ImageReference | undefined {
  const match = REFERENCE.exec(text);
  if (!match) return undefined;
  const [, domain, path = '', tag, digest] = match;
  // The first component is a registry only if it looks like a host.
  const isHost =
    domain !== undefined &&
    (/[.:]/.test(domain) || domain === 'localhost' || domain !== domain.toLowerCase());
  const repository = isHost || domain === undefined ? path : `${domain}/${path}`;
  const reference = tag === undefined && digest === undefined ? `${text}:latest` : text;
  const hub = !isHost || domain === 'docker.io' || domain === 'index.docker.io';
  return {
    reference,
    engineName: tag !== undefined && digest !== undefined ? text.replace(`:${tag}@`, '@') : reference,
    registry: hub ? 'docker.io' : domain,
    repository,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** The path of the repository at its registry: short names of Docker Hub are below `library/`. */
export function repositoryPath({ registry, repository }: ImageReference): string {
  return registry === 'docker.io' && !repository.includes('/') ? `library/${repository}` : repository;
}

/** `:tag` or `@digest`, as it follows the repository's name. */
export function versionOf({ tag, digest }: ImageReference): string {
  return digest === undefined ? `:${tag ?? 'latest'}` : `@${digest}`;
}

/** One name for all ways to write the same image, the one that Docker lists it by. */
export function familiarName(text: string): string {
  const image = parseImageReference(text);
  if (!image) return text;
  const { registry, repository } = image;
  const name = registry === 'docker.io' ? repository.replace(/^library\//, '') : `${registry}/${repository}`;
  return `${name}${versionOf(image)}`;
}
