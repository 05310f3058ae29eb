// How much a rule may cost. Every call, comparison and turn of a loop is charged, values by their size, so that no rule
// and no object stalls the server.
import type { ASTNode } from '@marcbachmann/cel-js';

/** As Kubernetes limits one expression. */
export const CALL_LIMIT = 1_000_000;
/** Of all rules on one object. Kubernetes allows 10 million, which a small board would take many seconds for. */
export const OBJECT_LIMIT = 2_500_000;

export class BudgetExceeded extends Error {}
/** One for all: a spent budget is found out again and again while the evaluation unwinds. */
const EXCEEDED = new BudgetExceeded('actual cost limit exceeded');

export class Budget {
  /** Of the whole object. */
  left = OBJECT_LIMIT;
  private call = 0;
  private readonly weights = new WeakMap<object, number>();

  /** A new expression begins. */
  begin(): void {
    this.call = 0;
  }

  get callExceeded(): boolean {
    return this.call > CALL_LIMIT;
  }

  get spent(): boolean {
    return this.left <= 0;
  }

  /** Throws BudgetExceeded. */
  charge(cost: number): void {
    this.call += cost;
    this.left -= cost;
    if (this.call > CALL_LIMIT || this.left <= 0) throw EXCEEDED;
  }

  weigh(value: unknown): number {
    if (typeof value === 'string') return 1 + value.length / 10;
    if (typeof value !== 'object' || value === null) return 1;
    const known = this.weights.get(value);
    if (known !== undefined) return known;
    let weight = 1;
    if (Array.isArray(value)) for (const item of value) weight += this.weigh(item);
    else if (value instanceof Map) for (const item of value.values()) weight += 1 + this.weigh(item);
    else if (value instanceof Uint8Array) weight += value.length / 10;
    else for (const item of Object.values(value)) weight += this.weigh(item);
    // Lists that are still growing are weighed again.
    if (!Array.isArray(value) || value.length > 16) this.weights.set(value, weight);
    return weight;
  }
}

/** What the library's nodes have beside their public form. */
interface Node {
  op: string;
  args: unknown;
  handle?: (...values: unknown[]) => unknown;
  meta: {
    alternate?: Node;
    macro?: object;
    evaluate: (evaluator: unknown, node: Node, context: unknown) => unknown;
  };
  setMeta(key: string, value: unknown): Node;
}

const CHARGED = new Set(['call', 'rcall', '==', '!=', 'in', '+', '<', '<=', '>', '>=']);

/** Makes the nodes of a checked expression charge `current()`. Once per expression. */
export function meter(ast: ASTNode, current: () => Budget): void {
  const seen = new Set<object>();
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null || seen.has(value)) return;
    seen.add(value);
    if (Array.isArray(value)) {
      for (const item of value) visit(item);
    } else if (isNode(value)) {
      visitNode(value);
    } else if (isPlain(value)) {
      for (const item of Object.values(value)) visit(item);
    }
  };
  const visitNode = (node: Node): void => {
    const { alternate, macro } = node.meta;
    if (alternate) {
      visit(alternate);
      return;
    }
    if (macro) {
      for (const part of Object.values(macro)) visit(part);
      return;
    }
    if (node.op === 'comprehension') {
      const step = (node.args as { step: Node }).step;
      const run = step.meta.evaluate;
      step.setMeta('evaluate', (evaluator: unknown, own: Node, context: unknown) => {
        current().charge(1);
        return run.call(step, evaluator, own, context);
      });
      seen.add(step);
      visitParts(step);
    }
    if (node.handle && CHARGED.has(node.op)) {
      const { handle } = node;
      const operands = node.op === 'call' || node.op === 'rcall' ? 1 : 2;
      node.handle = (...values) => {
        const budget = current();
        for (let index = 0; index < operands; index += 1) budget.charge(budget.weigh(values[index]));
        const result = handle(...values);
        budget.charge(budget.weigh(result));
        return result;
      };
    }
    visitParts(node);
  };
  const visitParts = (node: Node): void => {
    visit(node.args);
  };
  visit(ast);
}

function isNode(value: object): value is Node {
  return 'op' in value && 'setMeta' in value;
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}
