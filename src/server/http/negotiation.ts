import { StatusError } from '../../api/errors.ts';

/** How an answer shall look. */
export interface AnswerForm {
  encoding: 'json' | 'yaml';
  as: 'object' | 'table' | 'partial' | 'partial-list' | 'discovery';
  /** apiVersion of a Table or PartialObjectMetadata: meta.k8s.io/v1 or v1beta1. */
  metaVersion: string;
  /** The client asked for `;stream=watch`, and expects it in the content type. */
  stream: boolean;
}

interface MediaRange {
  type: string;
  parameters: Record<string, string>;
  quality: number;
}

const PLAIN: AnswerForm = { encoding: 'json', as: 'object', metaVersion: 'v1', stream: false };
const TYPES = 'application/json, application/yaml, application/vnd.kubernetes.protobuf';
const ENCODINGS: Readonly<Record<string, AnswerForm['encoding']>> = {
  'application/json': 'json',
  'application/*': 'json',
  '*/*': 'json',
  'application/yaml': 'yaml',
};
const FORMS: Readonly<Record<string, AnswerForm['as']>> = {
  Table: 'table',
  PartialObjectMetadata: 'partial',
  PartialObjectMetadataList: 'partial-list',
};

/** The best of the Accept header that this server can make for resources; throws 406. */
export function negotiate(accept: string | undefined): AnswerForm {
  if (accept === undefined || accept.trim() === '') return PLAIN;
  let knownType = false;
  for (const { type, parameters } of parseAccept(accept)) {
    const encoding = ENCODINGS[type];
    if (type === 'application/vnd.kubernetes.protobuf') knownType = true;
    if (!encoding) continue;
    knownType = true;
    const stream = parameters.stream === 'watch';
    const wanted = parameters.as;
    if (wanted === undefined) {
      if (parameters.g === undefined && parameters.v === undefined) return { ...PLAIN, encoding, stream };
      continue;
    }
    const as = FORMS[wanted];
    const version = parameters.v ?? '';
    const known = parameters.g === 'meta.k8s.io' && (version === 'v1' || version === 'v1beta1');
    if (as && known) return { encoding, as, metaVersion: version, stream };
  }
  // Two layers of the apiserver answer here, with different texts: the router knows types, the encoder transformations.
  throw knownType
    ? new StatusError('NotAcceptable', 406, `only the following media types are accepted: ${TYPES}`)
    : new StatusError('NotAcceptable', 406, `406: Not Acceptable\n\nAvailable representations: ${TYPES}`, {});
}

/** Does the client take aggregated discovery? Returns the version it wants: v2 or v2beta1. */
export function wantsAggregatedDiscovery(accept: string | undefined): 'v2' | 'v2beta1' | undefined {
  for (const { type, parameters } of parseAccept(accept ?? '')) {
    if (type !== 'application/json') continue;
    if (parameters.g === undefined && parameters.as === undefined) return undefined;
    const version = parameters.v;
    if (parameters.g !== 'apidiscovery.k8s.io' || parameters.as !== 'APIGroupDiscoveryList') continue;
    if (version === 'v2' || version === 'v2beta1') return version;
  }
  return undefined;
}

/** Is one of these media types acceptable? Returns the first by the client's preference. */
export function chooseType<T extends string>(
  accept: string | undefined,
  offered: readonly T[],
): T | undefined {
  if (accept === undefined || accept.trim() === '') return offered[0];
  for (const { type } of parseAccept(accept)) {
    const found = offered.find(
      (offer) =>
        offer === type || type === '*/*' || (type === 'application/*' && offer.startsWith('application/')),
    );
    if (found) return found;
  }
  return undefined;
}

/** The clauses of an Accept header, best first; of equal quality in the order given. */
export function parseAccept(accept: string): MediaRange[] {
  const ranges = accept
    .split(',')
    .slice(0, 64)
    .map((clause): MediaRange => {
      const [type = '', ...rest] = clause.split(';').map((part) => part.trim());
      const parameters: Record<string, string> = Object.create(null);
      for (const part of rest) {
        const equals = part.indexOf('=');
        if (equals > 0) parameters[part.slice(0, equals).trim()] = part.slice(equals + 1).trim();
      }
      const quality = parameters.q === undefined ? 1 : Number(parameters.q);
      return { type: type.toLowerCase(), parameters, quality: Number.isFinite(quality) ? quality : 0 };
    })
    .filter(({ type, quality }) => type !== '' && quality > 0);
  return ranges.sort((a, b) => b.quality - a.quality);
}

/** The media type of a Content-Type header without its parameters, in lower case. */
export function mediaType(contentType: string | undefined): string {
  return (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}
