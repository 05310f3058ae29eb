import { expect, it } from 'vitest';
import { buildRoutes, findRoute } from '../../../src/agent/ingress/routes.ts';
import { sharedIngress } from '../../support/ingress.ts';
import golden from './paths.json' with { type: 'json' };

// Kubernetes' own tables; each rule's Service is named after it.
it.each(golden.paths)('$request among $rules is for $chosen', ({ rules, request, chosen }) => {
  const paths = Object.fromEntries(
    rules.map((rule) => [rule.startsWith('Exact') ? `=${rule.slice(6)}` : rule.slice(7), rule]),
  );
  const table = buildRoutes([sharedIngress('doc', { 'doc.test': paths })]);
  expect(findRoute(table, 'doc.test', request)?.service ?? null).toBe(chosen);
});

it.each(golden.hosts)('a rule for $rule and a request for $host', ({ rule, host, matches }) => {
  const table = buildRoutes([sharedIngress('doc', { [rule]: { '/': 'web' } })]);
  expect(findRoute(table, host, '/') !== undefined).toBe(matches);
});
