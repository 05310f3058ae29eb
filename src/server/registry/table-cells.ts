import type { ResourceInfo } from '../../api/catalogue.ts';
import type { JsonObject, KubeObject } from '../../api/object.ts';
import type { ComponentStatus } from '../../api/types/core-v1.ts';
import { numberAt, objectAt } from '../../api/validation.ts';
import type { CustomColumn } from './custom/types.ts';
import type { ServedResources } from './served.ts';
import { ageCell, nameCell } from './strategies/cells.ts';

/** The cells of Table rows, from the strategies. A function in the shape that HTTP's table writer asks for. */
export function tableCells(served: ServedResources): {
  cells(
    info: ResourceInfo,
    object: KubeObject,
    now: number,
  ): (string | number | boolean | null)[] | undefined;
  columns(info: ResourceInfo): readonly CustomColumn[] | undefined;
} {
  return {
    cells: (info, object, now) => {
      if (object.kind === 'Scale') return scaleCells(object as unknown as JsonObject, now);
      if (info.kind === 'ComponentStatus') return componentCells(object as ComponentStatus);
      if (isComputed(info)) return undefined;
      const { custom, strategy, conversion } = served.of(info);
      if (custom) return custom.cells(object, now);
      // Whatever version was asked for, the row is that of the version the strategy knows.
      const shown = object as unknown as JsonObject;
      return strategy.cells?.(conversion ? conversion.toStorage(shown) : shown, now);
    },
    columns: (info) => (isComputed(info) ? undefined : served.of(info).custom?.columns),
  };
}

/** The scale of an object is none of its resource: it has columns of its own. */
function scaleCells(scale: JsonObject, now: number): (string | number)[] {
  const replicas = (of: string): number => numberAt(objectAt(scale, of), 'replicas') ?? 0;
  return [nameCell(scale), replicas('spec'), replicas('status'), ageCell(scale, now)];
}

function componentCells({ metadata, conditions = [] }: ComponentStatus): string[] {
  const healthy = conditions.find(({ type }) => type === 'Healthy');
  const { status, message = '', error = '' } = healthy ?? {};
  const shown = status === undefined ? 'Unknown' : status === 'True' ? 'Healthy' : 'Unhealthy';
  return [metadata.name ?? '', shown, message, error];
}

/** Answered and not stored: it has neither schema nor strategy, and is shown by name and age. */
function isComputed({ schema, custom }: ResourceInfo): boolean {
  return schema === undefined && !custom;
}
