// Sets of fields in the form in which Kubernetes writes them (FieldsV1): a tree whose keys are path elements
// (path-element.ts). A node without children is a member; a node with children is one when it holds ".".
// Sets are values: no function changes its arguments, and results share what did not change with them.

export interface FieldSet {
  readonly [element: string]: FieldSet;
}

/** A member without children; one object for all of them, since a set consists mostly of these. */
export const MEMBER: FieldSet = Object.freeze({});
export const NO_FIELDS: FieldSet = MEMBER;

const SELF = '.';

type Building = Record<string, FieldSet>;

export function isEmpty(set: FieldSet): boolean {
  for (const _ in set) return false;
  return true;
}

function isMember(node: FieldSet): boolean {
  return isEmpty(node) || node[SELF] !== undefined;
}

function hasChildren(node: FieldSet): boolean {
  for (const element in node) if (element !== SELF) return true;
  return false;
}

/** `children` must not be used afterwards. Undefined: neither a member nor on the way to one. */
function nodeOf(member: boolean, children: Building | undefined): FieldSet | undefined {
  if (children === undefined || isEmpty(children)) return member ? MEMBER : undefined;
  if (member) children[SELF] = MEMBER;
  return children;
}

/** Collects paths while a walk goes down and up; the walk keeps the path. */
export class FieldSetBuilder {
  private readonly root: Building = {};

  /** The empty path is no field: nobody owns the whole object. */
  add(path: readonly string[]): void {
    let node = this.root;
    const last = path.length - 1;
    for (let index = 0; index < last; index += 1) {
      const element = path[index] as string;
      const child = node[element];
      if (child === undefined) {
        const made: Building = {};
        node[element] = made;
        node = made;
      } else if (child === MEMBER) {
        const made: Building = { [SELF]: MEMBER };
        node[element] = made;
        node = made;
      } else {
        node = child as Building;
      }
    }
    if (last < 0) return;
    const element = path[last] as string;
    const known = node[element];
    if (known === undefined) node[element] = MEMBER;
    else if (known !== MEMBER) (known as Building)[SELF] = MEMBER;
  }

  /** Ends the building. */
  done(): FieldSet {
    return this.root;
  }
}

export function fieldSet(...paths: readonly (readonly string[])[]): FieldSet {
  const builder = new FieldSetBuilder();
  for (const path of paths) builder.add(path);
  return builder.done();
}

export function has(set: FieldSet, path: readonly string[]): boolean {
  let node: FieldSet | undefined = set;
  for (const element of path) node = node?.[element];
  return path.length > 0 && node !== undefined && isMember(node);
}

export function union(left: FieldSet, right: FieldSet): FieldSet {
  if (left === right || isEmpty(right)) return left;
  if (isEmpty(left)) return right;
  return unionNode(left, right);
}

function unionNode(left: FieldSet, right: FieldSet): FieldSet {
  let changed: Building | undefined;
  for (const element in right) {
    const other = right[element] as FieldSet;
    const own = left[element];
    let joined: FieldSet;
    if (own === undefined) joined = other;
    else if (own === other || element === SELF) continue;
    // A leaf stays a member beside the other's children.
    else if (isEmpty(other)) joined = withSelf(own);
    else if (isEmpty(own)) joined = withSelf(other);
    else joined = unionNode(own, other);
    if (joined === own) continue;
    changed ??= { ...left };
    changed[element] = joined;
  }
  return changed ?? left;
}

function withSelf(node: FieldSet): FieldSet {
  return isMember(node) ? node : { ...node, [SELF]: MEMBER };
}

/** What is a member of both. */
export function intersection(left: FieldSet, right: FieldSet): FieldSet {
  return intersectionOf(left, right) ?? NO_FIELDS;
}

function intersectionOf(left: FieldSet, right: FieldSet): Building | undefined {
  let result: Building | undefined;
  for (const element in left) {
    if (element === SELF) continue;
    const own = left[element] as FieldSet;
    const other = right[element];
    if (other === undefined) continue;
    const node = nodeOf(isMember(own) && isMember(other), intersectionOf(own, other));
    if (node === undefined) continue;
    result ??= {};
    result[element] = node;
  }
  return result;
}

/** Members of the first that are none of the second. A member of the second does not take the other's children along. */
export function difference(left: FieldSet, right: FieldSet): FieldSet {
  return without(left, right, false);
}

/** Like difference, but a member of the second takes everything below it along. */
export function differenceBelow(left: FieldSet, right: FieldSet): FieldSet {
  return without(left, right, true);
}

function without(left: FieldSet, right: FieldSet, below: boolean): FieldSet {
  let changed: Building | undefined;
  for (const element in right) {
    if (element === SELF) continue;
    const own = left[element];
    if (own === undefined) continue;
    const other = right[element] as FieldSet;
    const removed = isMember(other);
    let node: FieldSet | undefined;
    if (below && removed) {
      node = undefined;
    } else {
      const member = isMember(own) && !removed;
      const children = hasChildren(own) ? without(own, other, below) : NO_FIELDS;
      node = nodeOf(member, childrenOf(children));
      if (node !== undefined && same(node, own)) continue;
    }
    changed ??= { ...left };
    if (node === undefined) delete changed[element];
    else changed[element] = node;
  }
  return changed ?? left;
}

function childrenOf(node: FieldSet): Building | undefined {
  if (!hasChildren(node)) return undefined;
  const { [SELF]: _self, ...children } = node;
  return children;
}

/** The same nodes, without going down. */
function same(left: FieldSet, right: FieldSet): boolean {
  let count = 0;
  for (const element in left) {
    if (left[element] !== right[element]) return false;
    count += 1;
  }
  for (const _ in right) count -= 1;
  return count === 0;
}

export function equal(left: FieldSet, right: FieldSet): boolean {
  if (left === right) return true;
  let count = 0;
  for (const element in left) {
    const other = right[element];
    if (other === undefined || !equal(left[element] as FieldSet, other)) return false;
    count += 1;
  }
  for (const _ in right) count -= 1;
  return count === 0;
}

/** The part below one element; the element itself does not count. */
export function below(set: FieldSet, element: string): FieldSet {
  const node = set[element];
  return node !== undefined && hasChildren(node) ? node : NO_FIELDS;
}

/** Every member: those of a level before what lies below it, each level in the order of `compare`. */
export function paths(set: FieldSet, compare: (left: string, right: string) => number): string[][] {
  const found: string[][] = [];
  collect(set, [], compare, found);
  return found;
}

function collect(
  set: FieldSet,
  prefix: readonly string[],
  compare: (left: string, right: string) => number,
  found: string[][],
): void {
  const elements = Object.keys(set)
    .filter((element) => element !== SELF)
    .sort(compare);
  for (const element of elements) {
    if (isMember(set[element] as FieldSet)) found.push([...prefix, element]);
  }
  for (const element of elements) {
    const node = set[element] as FieldSet;
    if (hasChildren(node)) collect(node, [...prefix, element], compare, found);
  }
}

/** The set with each node rebuilt by `change`, which sees the element and may add membership. */
export function mapMembers(
  set: FieldSet,
  isNowMember: (element: string, path: readonly string[]) => boolean,
  prefix: readonly string[] = [],
): FieldSet {
  const result: Building = {};
  for (const element of Object.keys(set)) {
    if (element === SELF) {
      result[element] = MEMBER;
      continue;
    }
    const node = set[element] as FieldSet;
    if (!hasChildren(node)) {
      result[element] = node;
      continue;
    }
    const mapped = mapMembers(node, isNowMember, [...prefix, element]);
    result[element] = isNowMember(element, prefix) ? withSelf(mapped) : mapped;
  }
  return result;
}
