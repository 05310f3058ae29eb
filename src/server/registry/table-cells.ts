import type { ResourceInfo } from '../../api/catalogue.ts';
import type { JsonObject, KubeObject } from '../../api/object.ts';
import type { CustomColumn } from './custom/types.ts';
import type { ServedResources } from './served.ts';

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
      if (isComputed(info)) return undefined;
      const { custom, strategy } = served.of(info);
      return custom ? custom.cells(object, now) : strategy.cells?.(object as unknown as JsonObject, now);
    },
    columns: (info) => (isComputed(info) ? undefined : served.of(info).custom?.columns),
  };
}

/** Answered and not stored: it has neither schema nor strategy, and is shown by name and age. */
function isComputed({ schema, custom }: ResourceInfo): boolean {
  return schema === undefined && !custom;
}
