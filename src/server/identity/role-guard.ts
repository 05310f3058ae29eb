import { forbidden } from '../../api/errors.ts';
import type { KubeObject } from '../../api/object.ts';
import { nameOf } from '../../api/object.ts';
import type { ClusterRole, PolicyRule, RoleBinding, RoleRef } from '../../api/types/rbac-v1.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../admission/port.ts';
import type { RequestContext, Target } from '../registry/port.ts';
import { type Authorizer, MASTERS } from './authorization.ts';
import type { RbacAuthorizer } from './rbac.ts';
import { uncovered, writeRule } from './rbac-rules.ts';

const GROUP = 'rbac.authorization.k8s.io';

/**
 * RBAC's protection against granting oneself more: who writes a role must hold what it grants (or the verb `escalate`),
 * who binds one must hold what the role grants (or the verb `bind`).
 */
export class RoleGuard implements AdmissionPlugin {
  readonly name = 'RBACEscalation';
  private readonly rbac: RbacAuthorizer;
  private readonly authorizer: Authorizer;

  constructor(rbac: RbacAuthorizer, authorizer: Authorizer) {
    this.rbac = rbac;
    this.authorizer = authorizer;
  }

  validate({ operation, context, target, ...request }: AdmissionRequest): void {
    if (operation !== 'CREATE' && operation !== 'UPDATE') return;
    if (target.info.group !== GROUP || context.user.groups.includes(MASTERS)) return;
    const object = request.object as unknown as KubeObject;
    const old = request.old as unknown as KubeObject | undefined;
    switch (target.info.resource) {
      case 'roles':
      case 'clusterroles':
        return this.checkRole(context, target, object as ClusterRole, old as ClusterRole | undefined);
      case 'rolebindings':
      case 'clusterrolebindings':
        return this.checkBinding(context, target, object as RoleBinding, old as RoleBinding | undefined);
    }
  }

  private checkRole(
    context: RequestContext,
    target: Target,
    role: ClusterRole,
    old: ClusterRole | undefined,
  ): void {
    const same = (a: unknown, b: unknown): boolean => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);
    if (old && same(role.rules, old.rules) && same(role.aggregationRule, old.aggregationRule)) return;
    if (this.may(context, target, 'escalate', target.info.resource, nameOf(role))) return;
    // An aggregate grants whatever will ever match its selectors: that is everything.
    const everything: PolicyRule[] = [
      { apiGroups: ['*'], resources: ['*'], verbs: ['*'] },
      { nonResourceURLs: ['*'], verbs: ['*'] },
    ];
    this.refuseUncovered(
      context,
      target,
      nameOf(role),
      role.aggregationRule ? everything : (role.rules ?? []),
    );
  }

  private checkBinding(
    context: RequestContext,
    target: Target,
    binding: RoleBinding,
    old: RoleBinding | undefined,
  ): void {
    const same = (a: unknown, b: unknown): boolean => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);
    if (old && same(binding.subjects, old.subjects) && same(binding.roleRef, old.roleRef)) return;
    const { roleRef } = binding;
    const resource = roleRef.kind === 'ClusterRole' ? 'clusterroles' : 'roles';
    if (this.may(context, target, 'bind', resource, roleRef.name)) return;
    const rules = this.rbac.rulesOfRole(roleRef, target.namespace ?? '');
    if (!rules) throw roleNotFound(roleRef, target, nameOf(binding));
    this.refuseUncovered(context, target, nameOf(binding), rules);
  }

  private may(
    context: RequestContext,
    target: Target,
    verb: string,
    resource: string,
    name: string,
  ): boolean {
    return this.authorizer.authorize({
      user: context.user,
      verb,
      group: GROUP,
      version: target.info.version,
      resource,
      subresource: '',
      namespace: target.namespace ?? '',
      name,
    }).allowed;
  }

  private refuseUncovered(
    { user }: RequestContext,
    target: Target,
    name: string,
    wanted: readonly PolicyRule[],
  ): void {
    const missing = uncovered(this.rbac.rulesFor(user, target.namespace ?? ''), wanted);
    if (missing.length === 0) return;
    const groups = JSON.stringify(user.groups).replaceAll(',', ' ');
    throw forbidden(
      target.info,
      name,
      `user "${user.name}" (groups=${groups}) is attempting to grant RBAC permissions not currently held:\n` +
        missing.map(writeRule).sort().join('\n'),
    );
  }
}

const roleNotFound = (role: RoleRef, target: Target, name: string) =>
  forbidden(
    target.info,
    name,
    `${role.kind === 'ClusterRole' ? 'clusterroles' : 'roles'}.${GROUP} "${role.name}" not found`,
  );
