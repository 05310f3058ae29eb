// What a new volume is filled from: dataSource, and dataSourceRef, which has come after it.
import type { FieldError } from '../../../api/errors.ts';
import { dnsLabel, dnsSubdomain } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import { jsonEqual } from '../../../api/patch-json.ts';
import { asObject, checkName, invalidValue, required, stringAt } from '../../../api/validation.ts';

/**
 * dataSource takes claims and snapshots; everything else in it is ignored, as it always was. What one of both fields says
 * the other one says as well.
 */
export function normaliseSources(spec: JsonObject): void {
  const source = asObject(spec.dataSource);
  if (source && !isClaimOrSnapshot(source)) delete spec.dataSource;
  const kept = asObject(spec.dataSource);
  const reference = asObject(spec.dataSourceRef);
  if (kept && !reference) spec.dataSourceRef = { ...kept };
  else if (reference && !kept && stringAt(reference, 'namespace') === '' && isClaimOrSnapshot(reference)) {
    spec.dataSource = { ...reference };
  }
}

function isClaimOrSnapshot({ apiGroup, kind }: JsonObject): boolean {
  const group = apiGroup ?? '';
  return (
    (group === '' && kind === 'PersistentVolumeClaim') ||
    (group === 'snapshot.storage.k8s.io' && kind === 'VolumeSnapshot')
  );
}

export function validateSources(spec: JsonObject, path: string): FieldError[] {
  const source = asObject(spec.dataSource);
  const reference = asObject(spec.dataSourceRef);
  const errors = [
    ...(source ? validateSource(source, `${path}.dataSource`) : []),
    ...(reference ? validateSource(reference, `${path}.dataSourceRef`) : []),
  ];
  // What is told as the value is a path, in Kubernetes too.
  if (source && reference && stringAt(reference, 'namespace') !== '') {
    const why = 'may not be specified when dataSourceRef.namespace is specified';
    errors.push(invalidValue(path, `${path}.dataSource`, why));
  } else if (source && reference && !jsonEqual(source, reference)) {
    errors.push(invalidValue(path, `${path}.dataSource`, 'must match dataSourceRef'));
  }
  return errors;
}

function validateSource(source: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (stringAt(source, 'name') === '') errors.push(required(`${path}.name`));
  if (stringAt(source, 'kind') === '') errors.push(required(`${path}.kind`));
  const group = stringAt(source, 'apiGroup');
  if (group === '' && source.kind !== 'PersistentVolumeClaim') {
    errors.push(
      invalidValue(
        path,
        source.kind ?? '',
        "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
      ),
    );
  }
  if (group !== '') errors.push(...checkName(`${path}.apiGroup`, group, dnsSubdomain));
  const namespace = stringAt(source, 'namespace');
  if (namespace !== '') errors.push(...checkName(`${path}.namespace`, namespace, dnsLabel));
  return errors;
}
