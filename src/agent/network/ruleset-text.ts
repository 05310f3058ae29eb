/** The one table of ours in the `ip` family. */
export const TABLE = 'copepod';

/** What a hostPort's hostIP says for "every address of the board". */
export const ANY_HOST_IP: ReadonlySet<string> = new Set(['', '0.0.0.0', '::']);

/**
 * The table as data, so that two states can be compared: a change of one Service becomes a few lines instead of the
 * whole table.
 */
export interface Ruleset {
  /** Base chains and the declarations of maps; when it changes, everything is replaced. */
  frame: string;
  /** Dynamic sets: name -> body. */
  sets: Map<string, string>;
  /** Chain -> its rules. */
  chains: Map<string, string[]>;
  /** Map or set of the frame -> key -> value (empty in a set). */
  elements: Map<string, Map<string, string>>;
}

/** nft's identifiers take digits, letters, `.`, `-`, `_` and `/`. */
export function endpointKey(endpoint: { ip: string; port: number }): string {
  return `${endpoint.ip}-${endpoint.port}`;
}

/** Replaces the table whole, in one transaction. */
export function renderRuleset(ruleset: Ruleset): string {
  const lines = [`table ip ${TABLE}`, `delete table ip ${TABLE}`, `table ip ${TABLE} {`];
  for (const [name, body] of ruleset.sets) lines.push(`  set ${name} { ${body} }`);
  lines.push(ruleset.frame.trimEnd());
  for (const [name, rules] of ruleset.chains) {
    lines.push(`  chain ${name} {`, ...rules.map((rule) => `    ${rule}`), '  }');
  }
  lines.push('}');
  for (const [name, entries] of ruleset.elements) {
    if (entries.size > 0)
      lines.push(`add element ip ${TABLE} ${name} { ${[...entries].map(element).join(', ')} }`);
  }
  return `${lines.join('\n')}\n`;
}

export function removeTable(): string {
  return `table ip ${TABLE}\ndelete table ip ${TABLE}\n`;
}

/** The transaction that makes `next` of `previous`; empty when they are equal. */
export function renderChange(previous: Ruleset, next: Ruleset): string {
  if (previous.frame !== next.frame) return renderRuleset(next);
  const lines: string[] = [];
  const say = (verb: string, rest: string): number => lines.push(`${verb} ip ${TABLE} ${rest}`);

  const retyped = [...next.sets].some(([name, body]) => (previous.sets.get(name) ?? body) !== body);
  // A set's timeout cannot be changed in place while rules use it.
  if (retyped) return renderRuleset(next);

  for (const [name, body] of next.sets) {
    if (!previous.sets.has(name)) say('add set', `${name} { ${body} }`);
  }
  const changed = [...next.chains].filter(([name, rules]) => !sameRules(previous.chains.get(name), rules));
  // All chains first: rules point at each other.
  for (const [name] of changed) say(previous.chains.has(name) ? 'flush chain' : 'add chain', name);
  for (const [name, rules] of changed) {
    for (const rule of rules) say('add rule', `${name} ${rule}`);
  }
  for (const [name, entries] of previous.elements) {
    const wanted = next.elements.get(name);
    const gone = [...entries].filter(([key, value]) => wanted?.get(key) !== value).map(([key]) => key);
    if (gone.length > 0) say('delete element', `${name} { ${gone.join(', ')} }`);
  }
  for (const [name, entries] of next.elements) {
    const held = previous.elements.get(name);
    const fresh = [...entries].filter(([key, value]) => held?.get(key) !== value);
    if (fresh.length > 0) say('add element', `${name} { ${fresh.map(element).join(', ')} }`);
  }
  const removed = [...previous.chains.keys()].filter((name) => !next.chains.has(name));
  for (const name of removed) say('flush chain', name);
  for (const name of removed) say('delete chain', name);
  for (const name of previous.sets.keys()) {
    if (!next.sets.has(name)) say('delete set', name);
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

const element = ([key, value]: [string, string]): string => (value === '' ? key : `${key} : ${value}`);

function sameRules(a: readonly string[] | undefined, b: readonly string[]): boolean {
  return a !== undefined && a.length === b.length && a.every((rule, index) => rule === b[index]);
}
