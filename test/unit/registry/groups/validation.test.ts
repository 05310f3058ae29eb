import { expect, test } from 'vitest';
import type { JsonObject } from '../../../../src/api/object.ts';
import { eventStrategy } from '../../../../src/server/registry/strategies/events.ts';
import { refusals, updateRefusals } from './strategy-of.ts';

const SELECTOR = { matchLabels: { app: 'web' } };
const TARGET = { kind: 'Deployment', name: 'web', apiVersion: 'apps/v1' };
const DNS_SUBDOMAIN =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

const autoscaler = (spec: JsonObject): JsonObject => ({
  spec: { maxReplicas: 3, scaleTargetRef: TARGET, ...spec },
});
const ingress = (path: JsonObject): JsonObject => ({
  spec: { rules: [{ http: { paths: [path] } }] },
});
const backend = { service: { name: 'web', port: { number: 80 } } };
const peers = (ipBlock: JsonObject): JsonObject => ({
  spec: { podSelector: {}, ingress: [{ from: [{ ipBlock }] }] },
});
const level = (limited: JsonObject): JsonObject => ({
  metadata: { name: 'x' },
  spec: { type: 'Limited', limited },
});
const webhook = (changes: JsonObject): JsonObject => ({
  webhooks: [
    {
      name: 'a.example.com',
      sideEffects: 'None',
      admissionReviewVersions: ['v1'],
      clientConfig: { url: 'https://example.com/x' },
      ...changes,
    },
  ],
});
const claim = (request: JsonObject): JsonObject => ({ spec: { devices: { requests: [request] } } });

const CASES: [what: string, resource: string, object: JsonObject, refused: string[]][] = [
  [
    'an autoscaler of a ReplicationController may name the core group',
    'horizontalpodautoscalers.autoscaling',
    autoscaler({ scaleTargetRef: { kind: 'ReplicationController', name: 'rc', apiVersion: 'v1' } }),
    [],
  ],
  [
    'a metric populates one source, its own',
    'horizontalpodautoscalers.autoscaling',
    autoscaler({
      metrics: [
        {
          type: 'Pods',
          pods: { metric: { name: 'qps' }, target: { type: 'AverageValue', averageValue: '0' } },
          resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 1 } },
        },
      ],
    }),
    [
      'spec.metrics[0].pods.target.averageValue: Invalid value: "0": must be positive',
      'spec.metrics[0].pods.target.averageValue: Required value: must specify a positive target averageValue',
      'spec.metrics[0].resource: Forbidden: must populate the given metric source only',
    ],
  ],
  [
    'scaling policies have bounds',
    'horizontalpodautoscalers.autoscaling',
    autoscaler({
      behavior: {
        scaleUp: { selectPolicy: 'Odd', policies: [{ type: 'Pods', value: 0, periodSeconds: 1801 }] },
        scaleDown: { stabilizationWindowSeconds: 3601, policies: [] },
      },
    }),
    [
      'spec.behavior.scaleUp.selectPolicy: Unsupported value: "Odd": supported values: "Disabled", "Max", "Min"',
      'spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero',
      'spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800',
      'spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600',
      'spec.behavior.scaleDown.policies: Required value: must specify at least one Policy',
    ],
  ],
  [
    'an Ingress without rules needs a default backend',
    'ingresses.networking.k8s.io',
    { spec: {} },
    ['spec: Invalid value: null: either `defaultBackend` or `rules` must be specified'],
  ],
  [
    'prefixes of an Ingress are clean absolute paths',
    'ingresses.networking.k8s.io',
    ingress({ path: 'a//b/..', pathType: 'Prefix', backend }),
    [
      'spec.rules[0].http.paths[0].path: Invalid value: "a//b/..": must be an absolute path',
      'spec.rules[0].http.paths[0].path: Invalid value: "a//b/..": must not contain \'//\'',
      'spec.rules[0].http.paths[0].path: Invalid value: "a//b/..": cannot end with \'/..\'',
    ],
  ],
  [
    'a path without a type is not looked at any further',
    'ingresses.networking.k8s.io',
    ingress({ path: 'x', backend: {} }),
    ['spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified'],
  ],
  [
    'a backend is a service or a resource, and a port has one name',
    'ingresses.networking.k8s.io',
    {
      spec: {
        defaultBackend: { service: { name: 'web', port: { name: 'http', number: 80 } } },
        rules: [{ http: { paths: [{ path: '/', pathType: 'Exact', backend: {} }] } }],
      },
    },
    [
      'spec.defaultBackend: Invalid value: "": cannot set both port name & port number',
      'spec.rules[0].http.paths[0].backend: Invalid value: "": resource or service backend is required',
    ],
  ],
  [
    'an exception is a smaller part of its block',
    'networkpolicies.networking.k8s.io',
    peers({ cidr: '10.0.0.0/8', except: ['10.1.0.0/16', '11.0.0.0/16', '10.0.0.0/8', 'x'] }),
    [
      'spec.ingress[0].from[0].ipBlock.except[1]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`',
      'spec.ingress[0].from[0].ipBlock.except[2]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`',
      'spec.ingress[0].from[0].ipBlock.except[3]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)',
    ],
  ],
  [
    'a peer is a block or selectors',
    'networkpolicies.networking.k8s.io',
    {
      spec: {
        podSelector: {},
        egress: [{ to: [{}, { ipBlock: { cidr: '::/0' }, podSelector: SELECTOR }], ports: [{ endPort: 9 }] }],
      },
    },
    [
      'spec.egress[0].ports[0].endPort: Invalid value: 9: may not be specified when `port` is not specified',
      'spec.egress[0].to[0]: Required value: must specify a peer',
      'spec.egress[0].to[1]: Forbidden: may not specify both ipBlock and another peer',
    ],
  ],
  [
    'a ServiceCIDR has one network of each family, without host bits',
    'servicecidrs.networking.k8s.io',
    { spec: { cidrs: ['10.0.0.1/24', '2001:DB8::/64'] } },
    [
      'spec.cidrs[0]: Invalid value: "10.0.0.1/24": must not have bits set beyond the prefix length ("10.0.0.0/24")',
      'spec.cidrs[1]: Invalid value: "2001:DB8::/64": must be in canonical form ("2001:db8::/64")',
    ],
  ],
  [
    'an IPAddress is named by its address in canonical form',
    'ipaddresses.networking.k8s.io',
    { metadata: { name: '2001:0db8::1' }, spec: {} },
    [
      'metadata.name: Invalid value: "2001:0db8::1": must be in canonical form ("2001:db8::1")',
      'spec.parentRef: Required value',
    ],
  ],
  [
    'a parameters reference says whose namespace it means',
    'ingressclasses.networking.k8s.io',
    {
      spec: {
        controller: 'example.com/c',
        parameters: { apiGroup: 'Bad', kind: 'K', name: 'n', namespace: 'x' },
      },
    },
    [
      `spec.parameters.apiGroup: Invalid value: "Bad": ${DNS_SUBDOMAIN}`,
      "spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'",
    ],
  ],
  [
    'endpoints have hints of their own names, once',
    'endpointslices.discovery.k8s.io',
    {
      addressType: 'IPv6',
      endpoints: [
        { addresses: ['10.0.0.1', 'x'], hints: { forZones: [{ name: 'a' }, { name: 'a' }] }, nodeName: 'n' },
      ],
    },
    [
      'endpoints[0].addresses: Invalid value: "10.0.0.1": must be an IPv6 address',
      'endpoints[0].addresses[1]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
      'endpoints[0].hints.forZones[1].name: Duplicate value: "a"',
    ],
  ],
  [
    'a domain name of an endpoint has two parts',
    'endpointslices.discovery.k8s.io',
    { addressType: 'FQDN', endpoints: [{ addresses: ['localhost', 'a.example.com.'] }] },
    [
      'endpoints[0].addresses[0]: Invalid value: "localhost": should be a domain with at least two segments separated by dots',
    ],
  ],
  [
    'system priority classes have their fixed value',
    'priorityclasses.scheduling.k8s.io',
    { metadata: { name: 'system-node-critical' }, value: 1 },
    [
      "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: value of system-node-critical PriorityClass must be 2000001000",
    ],
  ],
  [
    'a lease names its holder to be only where it says how it is chosen',
    'leases.coordination.k8s.io',
    { spec: { leaseDurationSeconds: 0, leaseTransitions: -1, preferredHolder: 'x' } },
    [
      'spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0',
      'spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0',
      'spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined',
    ],
  ],
  [
    'a hand of queues fits into the hash',
    'prioritylevelconfigurations.flowcontrol.apiserver.k8s.io',
    level({ limitResponse: { type: 'Queue', queuing: { queues: 1024, handSize: 7 } } }),
    [
      'spec.limited.limitResponse.queuing.handSize: Invalid value: 7: required entropy bits of deckSize 1024 and handSize 7 should not be greater than 60',
    ],
  ],
  [
    'flow rules name subjects and requests',
    'flowschemas.flowcontrol.apiserver.k8s.io',
    {
      metadata: { name: 'x' },
      spec: {
        priorityLevelConfiguration: { name: 'p' },
        rules: [
          {
            subjects: [{ kind: 'ServiceAccount', serviceAccount: { name: '*' }, user: { name: 'u' } }],
            resourceRules: [{ verbs: ['get', 'fly'], apiGroups: ['*', 'apps'], resources: ['pods'] }],
            nonResourceRules: [{ verbs: ['*'], nonResourceURLs: ['/a*', '/healthz/*'] }],
          },
        ],
      },
    },
    [
      'spec.rules[0].subjects[0].serviceAccount.namespace: Required value: must specify namespace for service account',
      "spec.rules[0].subjects[0].user: Forbidden: user is forbidden when subject kind is not 'User'",
      'spec.rules[0].resourceRules[0].verbs: Unsupported value: ["get","fly"]: supported values: "create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"',
      'spec.rules[0].resourceRules[0].apiGroups: Invalid value: ["*","apps"]: if \'*\' is present, must not specify other api groups',
      'spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace',
      'spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "/a*": wildcard can only do suffix matching',
    ],
  ],
  [
    'a webhook is called over HTTPS and has no side effects',
    'validatingwebhookconfigurations.admissionregistration.k8s.io',
    webhook({
      name: 'short',
      sideEffects: 'Some',
      timeoutSeconds: 31,
      clientConfig: { url: 'http://u:p@h/x?y#z' },
    }),
    [
      'webhooks[0].name: Invalid value: "short": should be a domain with at least three segments separated by dots',
      'webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"',
      'webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds',
      'webhooks[0].clientConfig.url: Invalid value: "http": \'https\' is the only allowed URL scheme; desired format: https://host[/path]',
      'webhooks[0].clientConfig.url: Invalid value: "u": user information is not permitted in the URL; desired format: https://host[/path]',
      'webhooks[0].clientConfig.url: Invalid value: "z": fragments are not permitted in the URL; desired format: https://host[/path]',
      'webhooks[0].clientConfig.url: Invalid value: "y": query parameters are not permitted in the URL; desired format: https://host[/path]',
    ],
  ],
  [
    'a wildcard makes what it covers superfluous',
    'mutatingwebhookconfigurations.admissionregistration.k8s.io',
    webhook({
      rules: [
        {
          operations: ['*', 'CREATE'],
          apiGroups: [''],
          apiVersions: ['v1'],
          resources: ['pods/*', 'pods/log', '*/*'],
        },
      ],
    }),
    [
      'webhooks[0].rules[0].operations: Invalid value: ["*","CREATE"]: if \'*\' is present, must not specify other operations',
      'webhooks[0].rules[0].resources[1]: Invalid value: "pods/log": if \'pods/*\' is present, must not specify pods/log',
      'webhooks[0].rules[0].resources: Invalid value: ["pods/*","pods/log","*/*"]: if \'*/*\' is present, must not specify other resources',
    ],
  ],
  [
    'a binding refers to parameters in one way',
    'validatingadmissionpolicybindings.admissionregistration.k8s.io',
    {
      spec: {
        policyName: 'p',
        paramRef: { name: 'n', selector: SELECTOR },
        validationActions: ['Deny', 'Warn', 'Deny'],
      },
    },
    [
      'spec.paramRef.name: Forbidden: name and selector are mutually exclusive',
      'spec.paramRef.selector: Forbidden: name and selector are mutually exclusive',
      'spec.paramRef.parameterNotFoundAction: Required value',
      'spec.validationActions[2]: Duplicate value: "Deny"',
      'spec.validationActions: Invalid value: ["Deny","Warn","Deny"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)',
    ],
  ],
  [
    'a custom resource is named after its group and has one stored version',
    'customresourcedefinitions.apiextensions.k8s.io',
    {
      metadata: { name: 'widgets.example.com' },
      spec: {
        group: 'example',
        scope: 'Namespaced',
        names: { plural: 'widgets', kind: 'Widget', listKind: 'Widget' },
        versions: [{ name: 'v1', served: true, storage: false }],
      },
    },
    [
      'metadata.name: Invalid value: "widgets.example.com": must be spec.names.plural+"."+spec.group',
      'spec.group: Invalid value: "example": should be a domain with at least one dot',
      'spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required',
      'spec.versions: Invalid value: [{"name":"v1","served":true,"storage":false}]: must have exactly one version marked as storage version',
      'spec.names.listKind: Invalid value: "Widget": kind and listKind may not be the same',
    ],
  ],
  [
    'a device request says how many',
    'resourceclaims.resource.k8s.io',
    claim({ name: 'r', exactly: { deviceClassName: 'c', allocationMode: 'All', count: 2 } }),
    [
      "spec.devices.requests[0].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'",
    ],
  ],
  [
    'a storage class repeats no topology',
    'storageclasses.storage.k8s.io',
    {
      provisioner: 'Bad/Name/x',
      allowedTopologies: [
        { matchLabelExpressions: [{ key: 'zone', values: ['b', 'a'] }] },
        { matchLabelExpressions: [{ key: 'zone', values: ['a', 'b'] }] },
        { matchLabelExpressions: [{ key: 'zone', values: [] }] },
      ],
    },
    [
      expect.stringContaining('provisioner: Invalid value: "bad/name/x"'),
      'allowedTopologies[1].matchLabelExpressions: Duplicate value: ""',
      'allowedTopologies[2].matchLabelExpressions[0].values: Required value',
    ],
  ],
  [
    'an aggregated API is named by version and group',
    'apiservices.apiregistration.k8s.io',
    {
      metadata: { name: 'x' },
      spec: {
        group: 'g.example.com',
        version: 'v1',
        groupPriorityMinimum: 1,
        versionPriority: 0,
        caBundle: 'AAAA',
      },
    },
    [
      'metadata.name: Invalid value: "x": must be `spec.version+"."+spec.group`: "v1.g.example.com"',
      'spec.versionPriority: Invalid value: 0: must be positive and less than 1000',
      'spec.caBundle: Invalid value: "3 bytes": local APIServices may not have a caBundle',
    ],
  ],
];

test.each(CASES)('%s', (_what, resource, object, refused) => {
  expect(refusals(resource, object)).toEqual(refused);
});

const cidrs = (...list: string[]): JsonObject => ({ spec: { cidrs: list } });
const UPDATES: [what: string, resource: string, old: JsonObject, next: JsonObject, refused: string[]][] = [
  [
    'a ServiceCIDR may gain the other family',
    'servicecidrs.networking.k8s.io',
    cidrs('10.0.0.0/24'),
    cidrs('10.0.0.0/24', '2001:db8::/64'),
    [],
  ],
  [
    'a ServiceCIDR does not move',
    'servicecidrs.networking.k8s.io',
    cidrs('10.0.0.0/24'),
    cidrs('10.0.1.0/24'),
    ['spec.cidrs[0]: Invalid value: "10.0.1.0/24": field is immutable'],
  ],
  [
    'what keeps the server reachable stays',
    'flowschemas.flowcontrol.apiserver.k8s.io',
    { metadata: { name: 'exempt' }, spec: { matchingPrecedence: 1 } },
    { metadata: { name: 'exempt' }, spec: { matchingPrecedence: 2 } },
    [`spec: Invalid value: {"matchingPrecedence":2}: spec of 'exempt' must equal the fixed value`],
  ],
  [
    'a CSI driver on a node keeps its identity, not its limit',
    'csinodes.storage.k8s.io',
    { spec: { drivers: [{ name: 'd', nodeID: 'n' }] } },
    { spec: { drivers: [{ name: 'd', nodeID: 'n', allocatable: { count: 3 } }] } },
    [],
  ],
  [
    'a stored version of a custom resource may not vanish',
    'customresourcedefinitions.apiextensions.k8s.io',
    { spec: { group: 'g.io', names: { plural: 'ws', kind: 'W' } } },
    {
      spec: { group: 'h.io', names: { plural: 'ws', kind: 'V' }, versions: [{ name: 'v2' }] },
      status: { storedVersions: ['v1', 'v2'] },
    },
    [
      'spec.group: Invalid value: "h.io": field is immutable',
      'status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions',
    ],
  ],
];

test.each(UPDATES)('%s', (_what, resource, old, next, refused) => {
  expect(updateRefusals(resource, next, old)).toEqual(refused);
});

test('an event with a time of its own is complete, and may be told elsewhere', () => {
  const errors = eventStrategy.validate?.({
    metadata: { namespace: 'a' },
    involvedObject: { namespace: 'b' },
    eventTime: '2026-01-01T00:00:00.000000Z',
    reportingComponent: 'example.com/c',
    reason: 'x'.repeat(129),
  });
  expect(errors?.map(({ field, message }) => `${field}: ${message}`)).toEqual([
    'reportingInstance: Required value',
    'action: Required value',
    'reason: Invalid value: "": can have at most 128 characters',
  ]);
});
