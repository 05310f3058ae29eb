import type { SharedPolicy, SharedService } from '../../wire/messages.ts';
import { type FrameInput, frame, type HostPortPod, hostPortFragment } from './frame.ts';
import { type LocalPod, policyFragment } from './policies.ts';
import { RulesetBook } from './ruleset-book.ts';
import { type ServiceContext, serviceFragment } from './service-rules.ts';

export interface RulesetInput extends FrameInput, ServiceContext {
  services: readonly SharedService[];
  policies?: readonly SharedPolicy[];
  /** The pods of this board, for policies. */
  pods?: readonly LocalPod[];
  hostPorts: readonly HostPortPod[];
}

export interface ServiceChange {
  previous?: SharedService;
  next?: SharedService;
}

/**
 * Everything that copepod asks of nftables on this board, kept as it shall be and as the kernel was told. What is the same
 * object as last time is not looked at again: inputs are replaced, never changed.
 */
export class BoardRules {
  private readonly book = new RulesetBook();
  private services: ReadonlySet<SharedService> = new Set();
  private context = '';
  private hostPorts: readonly HostPortPod[] | undefined;
  private policies: readonly SharedPolicy[] | undefined;
  private pods: readonly LocalPod[] | undefined;

  /** Returns the Services that came, changed or went. */
  update(input: RulesetInput): ServiceChange[] {
    this.book.frame = frame(input);
    if (input.hostPorts !== this.hostPorts) {
      this.hostPorts = input.hostPorts;
      this.book.put('hostPorts', hostPortFragment(input.hostPorts));
    }
    const { nodeName, policies = NOTHING, pods = NOTHING } = input;
    if (policies !== this.policies || pods !== this.pods) {
      this.policies = policies;
      this.pods = pods;
      this.book.put('policies', policyFragment({ nodeName, policies, pods }));
    }
    return this.updateServices(input);
  }

  /** As one transaction that replaces the table. */
  whole(): string {
    return this.book.whole();
  }

  /** As one transaction that tells what is other than at the last `settled`; empty when nothing is. */
  change(): string {
    return this.book.change();
  }

  /** The kernel holds all of it. */
  settled(): void {
    this.book.settled();
  }

  private updateServices(input: RulesetInput): ServiceChange[] {
    const { nodeName, zone, clusterCidr, address } = input;
    const context: ServiceContext = {
      nodeName,
      ...(zone === undefined ? {} : { zone }),
      ...(clusterCidr === undefined ? {} : { clusterCidr }),
      ...(address === undefined ? {} : { address }),
    };
    const contextText = JSON.stringify(context);
    const stale = contextText !== this.context;
    this.context = contextText;
    const changes: ServiceChange[] = [];
    const before = this.services;
    const now = new Set(input.services);
    this.services = now;
    const gone = new Map<string, SharedService>();
    for (const service of before) if (!now.has(service)) gone.set(keyOf(service), service);
    for (const service of now) {
      const known = before.has(service);
      if (known && !stale) continue;
      const key = keyOf(service);
      this.book.put(`service/${key}`, serviceFragment(service, context));
      if (known) continue;
      const previous = gone.get(key);
      gone.delete(key);
      changes.push({ ...(previous ? { previous } : {}), next: service });
    }
    for (const [key, previous] of gone) {
      this.book.put(`service/${key}`, undefined);
      changes.push({ previous });
    }
    return changes;
  }
}

const NOTHING: readonly never[] = [];
const keyOf = ({ namespace, name }: SharedService): string => `${namespace}/${name}`;
