// What is POSTed to an object without being stored: bindings, evictions, token requests.
import type { Catalogue } from '../../api/catalogue.ts';
import { badRequest } from '../../api/errors.ts';
import type { Json, JsonObject, KubeObject } from '../../api/object.ts';
import { groupResource } from '../../api/resource.ts';
import type { Schemas } from '../../api/schema.ts';
import { asObject, numberAt, objectAt, stringAt, stringsAt } from '../../api/validation.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Random } from '../../lib/random.ts';
import type { AdmissionChain } from '../admission/port.ts';
import type { Store } from '../store/port.ts';
import { bind, SUCCESS_CREATED } from './binding.ts';
import { decodeBody } from './decoding.ts';
import type { Deleter } from './deletion.ts';
import { markEvicted, takeDisruption } from './eviction.ts';
import { notServed } from './identity-checks.ts';
import { placeInNamespace } from './pipeline.ts';
import type { DeleteRequest, RequestContext, Target, WriteOptions } from './port.ts';
import type { TokenIssuer } from './ports.ts';
import type { ServedResources } from './served.ts';
import { requestToken } from './token-request.ts';

interface Parts {
  store: Store;
  catalogue: Catalogue;
  schemas: Schemas;
  served: ServedResources;
  admission: AdmissionChain;
  deleter: Deleter;
  clock: Clock;
  random: Random;
  tokenIssuer: TokenIssuer | undefined;
}

export class SubresourcePosts {
  private readonly store: Store;
  private readonly catalogue: Catalogue;
  private readonly schemas: Schemas;
  private readonly served: ServedResources;
  private readonly admission: AdmissionChain;
  private readonly deleter: Deleter;
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly tokenIssuer: TokenIssuer | undefined;

  constructor(parts: Parts) {
    this.store = parts.store;
    this.catalogue = parts.catalogue;
    this.schemas = parts.schemas;
    this.served = parts.served;
    this.admission = parts.admission;
    this.deleter = parts.deleter;
    this.clock = parts.clock;
    this.random = parts.random;
    this.tokenIssuer = parts.tokenIssuer;
  }

  /** POST to a subresource; the answer is a Status, or the TokenRequest with its token. */
  async create(
    context: RequestContext,
    target: Target,
    body: unknown,
    options: WriteOptions,
  ): Promise<KubeObject> {
    const decode = (schema: string, apiVersion: string, kind: string): JsonObject =>
      decodeBody(
        this.catalogue,
        { kind, apiVersion, struct: this.schemas.struct(schema) },
        inServedVersion(body),
        options,
        context,
      );
    switch (`${groupResource(target.info)}/${target.subresource}`) {
      case 'pods/binding': {
        const binding = decode('io.k8s.api.core.v1.Binding', 'v1', 'Binding');
        return this.bind(context, target, binding, options);
      }
      case 'pods/eviction': {
        const eviction = decode('io.k8s.api.policy.v1.Eviction', 'policy/v1', 'Eviction');
        return this.evict(context, target, eviction, options);
      }
      case 'serviceaccounts/token': {
        const request = decode(
          'io.k8s.api.authentication.v1.TokenRequest',
          'authentication.k8s.io/v1',
          'TokenRequest',
        );
        await this.admit(context, target, request, options);
        return requestToken({
          store: this.store,
          issuer: this.tokenIssuer,
          random: this.random,
          namespace: target.namespace ?? '',
          name: target.name ?? '',
          request,
          now: this.clock.now(),
        });
      }
      default:
        throw notServed();
    }
  }

  async bind(
    context: RequestContext,
    target: Target,
    binding: JsonObject,
    options: WriteOptions,
  ): Promise<KubeObject> {
    checkNamed(target, objectAt(binding, 'metadata'), 'Binding');
    await this.admit(context, target, binding, options);
    const status = await bind(this.store, {
      namespace: target.namespace ?? '',
      name: target.name ?? '',
      binding,
      now: this.clock.now(),
      dryRun: options.dryRun === true,
    });
    return status as unknown as KubeObject;
  }

  private async evict(
    context: RequestContext,
    target: Target,
    eviction: JsonObject,
    options: WriteOptions,
  ): Promise<KubeObject> {
    checkNamed(target, objectAt(eviction, 'metadata'), 'Eviction');
    await this.admit(context, target, eviction, options);
    const given = objectAt(eviction, 'deleteOptions');
    const dryRun = options.dryRun === true || stringsAt(given, 'dryRun').includes('All');
    const request: DeleteRequest = { dryRun };
    const grace = numberAt(given, 'gracePeriodSeconds');
    if (grace !== undefined) request.gracePeriodSeconds = grace;
    const policy = stringAt(given, 'propagationPolicy');
    if (policy !== '') request.propagationPolicy = policy;
    const preconditions = objectAt(given, 'preconditions');
    if (Object.keys(preconditions).length > 0) request.preconditions = preconditions as { uid?: string };
    await takeDisruption(this.store, {
      namespace: target.namespace ?? '',
      name: target.name ?? '',
      now: this.clock.now(),
      dryRun,
    });
    const subject = { namespace: target.namespace ?? '', name: target.name ?? '', now: this.clock.now() };
    if (!dryRun) await markEvicted(this.store, subject);
    await this.deleter.delete(
      context,
      { ...target, subresource: undefined },
      this.served.of(target.info),
      request,
    );
    return SUCCESS_CREATED as unknown as KubeObject;
  }

  private async admit(
    context: RequestContext,
    target: Target,
    object: JsonObject,
    options: WriteOptions,
  ): Promise<void> {
    const request = {
      operation: 'CREATE' as const,
      target,
      bucket: groupResource(target.info),
      object,
      old: undefined,
      context,
      dryRun: options.dryRun === true,
    };
    await this.admission.admit(request);
    await this.admission.validate(request);
  }
}

/** policy/v1beta1 is served no more, but its Evictions are taken, as in Kubernetes: kubectl up to 1.21 drains with them. */
function inServedVersion(body: unknown): unknown {
  const object = asObject(body as Json);
  const old = object?.kind === 'Eviction' && object.apiVersion === 'policy/v1beta1';
  return old ? { ...object, apiVersion: 'policy/v1' } : body;
}

/** What is posted to a pod's subresource has to name the pod; the namespace may be left to the URL. */
function checkNamed(target: Target, metadata: JsonObject, kind: string): void {
  placeInNamespace(metadata, target);
  if (stringAt(metadata, 'name') !== target.name) {
    throw badRequest(`name in URL does not match name in ${kind} object`);
  }
}
