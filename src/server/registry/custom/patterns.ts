// Regular expressions of schemas and rules: RE2's syntax and linear time, whatever the pattern. The engine is loaded
// with the first definition that has a pattern.
import type { RE2JS } from 're2js';

export interface PatternEngine {
  /** A test that finds the pattern anywhere in a text. Throws with RE2's words when it is none. */
  compile(pattern: string): (text: string) => boolean;
  /** All matches of a pattern, at most `limit`. */
  find(pattern: string, text: string, limit: number): string[];
}

/** Larger counted repetitions and patterns are refused, as in RE2. */
const LONGEST_PATTERN = 10_000;
const MOST_KEPT = 500;

export async function loadPatterns(): Promise<PatternEngine> {
  const { RE2JS: engine } = await import('re2js');
  return new Re2Patterns(engine);
}

class Re2Patterns implements PatternEngine {
  private readonly engine: typeof RE2JS;
  private readonly compiled = new Map<string, RE2JS>();

  constructor(engine: typeof RE2JS) {
    this.engine = engine;
  }

  compile(pattern: string): (text: string) => boolean {
    const expression = this.expression(pattern);
    return (text) => expression.matcher(text).find();
  }

  find(pattern: string, text: string, limit: number): string[] {
    const matcher = this.expression(pattern).matcher(text);
    const found: string[] = [];
    while (found.length < limit && matcher.find()) found.push(matcher.group() ?? '');
    return found;
  }

  private expression(pattern: string): RE2JS {
    const ready = this.compiled.get(pattern);
    if (ready) return ready;
    if (pattern.length > LONGEST_PATTERN) throw new Error('expression too large');
    const made = this.engine.compile(pattern);
    // A pattern may come out of the data of a rule: what is kept is bounded.
    if (this.compiled.size >= MOST_KEPT) this.compiled.clear();
    this.compiled.set(pattern, made);
    return made;
  }
}
