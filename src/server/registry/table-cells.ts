import type { ResourceInfo } from '../../api/catalogue.ts';
import type { JsonObject, KubeObject } from '../../api/object.ts';
import type { ServedResources } from './served.ts';

/** The cells of Table rows, from the strategies. A function in the shape that HTTP's table writer asks for. */
export function tableCells(served: ServedResources): {
  cells(info: ResourceInfo, object: KubeObject, now: number): (string | number | boolean)[] | undefined;
} {
  return {
    cells: (info, object, now) => served.of(info).strategy.cells?.(object as unknown as JsonObject, now),
  };
}
