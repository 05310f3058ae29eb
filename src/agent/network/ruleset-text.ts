/** The one table of ours in the `ip` family. */
export const TABLE = 'copepod';

/** What a hostPort's hostIP says for "every address of the board". */
export const ANY_HOST_IP: ReadonlySet<string> = new Set(['', '0.0.0.0', '::']);

/** The table as data. */
export interface Ruleset {
  /** Base chains and the declarations of maps; when it changes, everything is replaced. */
  frame: string;
  /** Dynamic sets: name -> body. */
  sets: ReadonlyMap<string, string>;
  /** Chain -> its rules. */
  chains: ReadonlyMap<string, readonly string[]>;
  /** Map or set of the frame -> key -> value (empty in a set). */
  elements: ReadonlyMap<string, ReadonlyMap<string, string>>;
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
      lines.push(
        `add element ip ${TABLE} ${name} { ${[...entries].map(([key, value]) => element(key, value)).join(', ')} }`,
      );
  }
  return `${lines.join('\n')}\n`;
}

export function removeTable(): string {
  return `table ip ${TABLE}\ndelete table ip ${TABLE}\n`;
}

export const element = (key: string, value: string): string => (value === '' ? key : `${key} : ${value}`);
