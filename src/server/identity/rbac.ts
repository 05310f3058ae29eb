import { CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES } from '../../api/kinds.ts';
import { groupResource } from '../../api/resource.ts';
import type {
  ClusterRole,
  ClusterRoleBinding,
  PolicyRule,
  Role,
  RoleBinding,
  RoleRef,
  Subject,
} from '../../api/types/rbac-v1.ts';
import type { UserInfo } from '../registry/port.ts';
import type { Store } from '../store/port.ts';
import { type Attributes, type Authorizer, type Decision, splitServiceAccount } from './authorization.ts';
import { effectiveRules, type RuleRequest, ruleAllows } from './rbac-rules.ts';

const BUCKETS = {
  clusterRoles: groupResource(CLUSTER_ROLES),
  roles: groupResource(ROLES),
  clusterRoleBindings: groupResource(CLUSTER_ROLE_BINDINGS),
  roleBindings: groupResource(ROLE_BINDINGS),
};

/** One subject of one binding. */
interface Grant {
  /** Empty: everywhere. */
  namespace: string;
  binding: string;
  subject: string;
  role: RoleRef;
  rules: readonly PolicyRule[];
}

interface Index {
  grants: Map<string, Grant[]>;
  clusterRoles: Map<string, PolicyRule[]>;
  roles: Map<string, PolicyRule[]>;
}

/**
 * Rights out of the stored roles and bindings. The index by subject is made on the first question after a change:
 * changes are rare, and a whole index of a small cluster takes about a millisecond.
 */
export class RbacAuthorizer implements Authorizer {
  private readonly store: Pick<Store, 'list' | 'watch'>;
  private watches: { stop(): void }[] = [];
  private index: Index | undefined;

  constructor(store: Pick<Store, 'list' | 'watch'>) {
    this.store = store;
  }

  start(): void {
    const changed = (): void => {
      this.index = undefined;
    };
    this.watches = Object.values(BUCKETS).map((bucket) => this.store.watch(bucket, undefined, changed));
  }

  stop(): void {
    for (const watch of this.watches) watch.stop();
    this.watches = [];
    this.index = undefined;
  }

  authorize(attributes: Attributes): Decision {
    const { verb, path, group, resource, subresource, name } = attributes;
    const request: RuleRequest =
      path !== undefined ? { verb, path } : { verb, group, resource, subresource, name };
    for (const grant of this.grantsOf(attributes.user)) {
      if (grant.namespace !== '' && (path !== undefined || grant.namespace !== attributes.namespace))
        continue;
      if (grant.rules.some((rule) => ruleAllows(rule, request))) {
        return {
          allowed: true,
          reason: `RBAC: allowed by ${grant.binding} of ${grant.role.kind} "${grant.role.name}" to ${grant.subject}`,
        };
      }
    }
    return { allowed: false, reason: '' };
  }

  /** Every rule that holds for the user in the namespace (empty: at the cluster scope only). */
  rulesFor(user: UserInfo, namespace: string): PolicyRule[] {
    const rules: PolicyRule[] = [];
    for (const grant of this.grantsOf(user)) {
      if (grant.namespace === '' || grant.namespace === namespace) rules.push(...grant.rules);
    }
    return rules;
  }

  /** What a role grants; undefined when it does not exist. */
  rulesOfRole(role: { kind: string; name: string }, namespace: string): PolicyRule[] | undefined {
    const { clusterRoles, roles } = this.current();
    return role.kind === 'ClusterRole' ? clusterRoles.get(role.name) : roles.get(`${namespace}/${role.name}`);
  }

  private *grantsOf(user: UserInfo): Iterable<Grant> {
    const { grants } = this.current();
    yield* grants.get(`User/${user.name}`) ?? [];
    for (const group of user.groups) yield* grants.get(`Group/${group}`) ?? [];
  }

  private current(): Index {
    this.index ??= this.build();
    return this.index;
  }

  private build(): Index {
    const objects = <T>(bucket: string): T[] =>
      this.store.list(bucket).map(({ object }) => object as unknown as T);
    const all = objects<ClusterRole>(BUCKETS.clusterRoles);
    const clusterRoles = new Map(all.map((role) => [role.metadata.name ?? '', effectiveRules(role, all)]));
    const roles = new Map(
      objects<Role>(BUCKETS.roles).map((role) => [
        `${role.metadata.namespace}/${role.metadata.name}`,
        role.rules ?? [],
      ]),
    );
    const grants = new Map<string, Grant[]>();
    const index: Index = { grants, clusterRoles, roles };
    const bind = (binding: ClusterRoleBinding | RoleBinding, namespace: string, written: string): void => {
      const { roleRef } = binding;
      const rules =
        roleRef.kind === 'ClusterRole'
          ? clusterRoles.get(roleRef.name)
          : roles.get(`${namespace}/${roleRef.name}`);
      if (!rules) return;
      for (const subject of binding.subjects ?? []) {
        const key = subjectKey(subject, namespace);
        if (key === undefined) continue;
        const grant = { namespace, binding: written, subject: writeSubject(subject), role: roleRef, rules };
        const list = grants.get(key);
        if (list) list.push(grant);
        else grants.set(key, [grant]);
      }
    };
    for (const binding of objects<ClusterRoleBinding>(BUCKETS.clusterRoleBindings)) {
      bind(binding, '', `ClusterRoleBinding "${binding.metadata.name}"`);
    }
    for (const binding of objects<RoleBinding>(BUCKETS.roleBindings)) {
      const { namespace = '', name } = binding.metadata;
      bind(binding, namespace, `RoleBinding "${name}/${namespace}"`);
    }
    return index;
  }
}

/** The key of grantsOf; a service account is the user of its name. */
function subjectKey(subject: Subject, bindingNamespace: string): string | undefined {
  switch (subject.kind) {
    case 'User':
    case 'Group':
      return `${subject.kind}/${subject.name}`;
    case 'ServiceAccount': {
      const user = `system:serviceaccount:${subject.namespace ?? bindingNamespace}:${subject.name}`;
      return splitServiceAccount(user) ? `User/${user}` : undefined;
    }
    default:
      return undefined;
  }
}

const writeSubject = (subject: Subject): string =>
  subject.kind === 'ServiceAccount'
    ? `ServiceAccount "${subject.name}/${subject.namespace}"`
    : `${subject.kind} "${subject.name}"`;
