import type { Pod } from '../../api/types/core-v1.ts';
import { fieldPath, identity, type NamedContainer } from '../names.ts';
import type { Reporter } from '../ports.ts';

type Type = 'Normal' | 'Warning';
/** What the API takes. */
const LONGEST_MESSAGE = 1024;

/** Events about pods and their containers, in the kubelet's name. */
export class PodEvents {
  private readonly reporter: Pick<Reporter, 'event'>;

  constructor(reporter: Pick<Reporter, 'event'>) {
    this.reporter = reporter;
  }

  pod(pod: Pod, type: Type, reason: string, message: string): void {
    this.reporter.event({ ...identity(pod), kind: 'Pod', type, reason, message: cut(message) });
  }

  container(pod: Pod, named: NamedContainer, type: Type, reason: string, message: string): void {
    this.reporter.event({
      ...identity(pod),
      kind: 'Pod',
      fieldPath: fieldPath(named),
      type,
      reason,
      message: cut(message),
    });
  }
}

function cut(message: string): string {
  return message.length <= LONGEST_MESSAGE ? message : `${message.slice(0, LONGEST_MESSAGE - 3)}...`;
}
