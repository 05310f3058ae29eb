import { element, type Ruleset, renderRuleset, TABLE } from './ruleset-text.ts';

/** What one owner (a Service, the hostPorts, the policies) contributes to the table. */
export interface Fragment {
  /** Dynamic sets and those of policies: name, body. */
  sets: (readonly [name: string, body: string])[];
  chains: (readonly [name: string, rules: readonly string[]])[];
  /** Of maps and sets of the frame or of `sets`; the value is empty in a set. */
  elements: (readonly [map: string, key: string, value: string])[];
}

/** A name or a key, and what it was when the kernel was told last; undefined: it was not there. */
type Touched<T> = Map<string, T | undefined>;

/**
 * The table as the sum of what its owners contribute. A change costs what changed, not what there is: whoever asks for
 * the transaction gets the names that were touched since the last one.
 */
export class RulesetBook {
  private frameText = '';
  private frameChanged = false;
  private readonly fragments = new Map<string, Fragment>();
  private readonly sets = new Map<string, string>();
  private readonly chains = new Map<string, readonly string[]>();
  private readonly elements = new Map<string, Map<string, string>>();
  /** `map\0key` -> the owners that claim it, where it is more than one; the first by name has it. */
  private readonly contested = new Map<string, Set<string>>();
  private readonly touchedSets: Touched<string> = new Map();
  private readonly touchedChains: Touched<readonly string[]> = new Map();
  private readonly touchedElements = new Map<string, Touched<string>>();

  /** Base chains and the declarations of maps; when it changes, everything is replaced. */
  set frame(text: string) {
    if (text === this.frameText) return;
    this.frameText = text;
    this.frameChanged = true;
  }

  /** Replaces what the owner contributes. */
  put(owner: string, fragment: Fragment | undefined): void {
    const old = this.fragments.get(owner);
    if (old) {
      // The owner's last word is taken away before the claims of others to it are weighed.
      this.fragments.delete(owner);
      for (const [name] of old.sets) change(this.sets, this.touchedSets, name, undefined);
      for (const [name] of old.chains) change(this.chains, this.touchedChains, name, undefined);
      for (const [map, key] of old.elements) this.release(owner, map, key);
    }
    if (!fragment) return;
    this.fragments.set(owner, fragment);
    for (const [name, body] of fragment.sets) change(this.sets, this.touchedSets, name, body);
    for (const [name, rules] of fragment.chains) change(this.chains, this.touchedChains, name, rules);
    for (const [map, key, value] of fragment.elements) this.claim(owner, map, key, value);
  }

  /** Everything, as one transaction that replaces the table. */
  whole(): string {
    return renderRuleset(this.ruleset());
  }

  ruleset(): Ruleset {
    const { frameText: frame, sets, chains, elements } = this;
    return { frame, sets, chains, elements };
  }

  /** The transaction that tells the kernel what was touched; empty when that is nothing. */
  change(): string {
    const retyped = [...this.touchedSets].some(
      ([name, before]) => before !== undefined && this.sets.has(name) && this.sets.get(name) !== before,
    );
    // A set's timeout cannot be changed in place while rules use it.
    if (this.frameChanged || retyped) return this.whole();
    const lines: string[] = [];
    const say = (verb: string, rest: string): number => lines.push(`${verb} ip ${TABLE} ${rest}`);
    for (const [name, before] of this.touchedSets) {
      const body = this.sets.get(name);
      if (before === undefined && body !== undefined) say('add set', `${name} { ${body} }`);
    }
    const changed = [...this.touchedChains].flatMap(([name, before]) => {
      const rules = this.chains.get(name);
      return rules === undefined || sameRules(before, rules) ? [] : [{ name, before, rules }];
    });
    // All chains first: rules point at each other.
    for (const { name, before } of changed) say(before ? 'flush chain' : 'add chain', name);
    for (const { name, rules } of changed) for (const rule of rules) say('add rule', `${name} ${rule}`);
    for (const [map, touched] of this.touchedElements) {
      const now = this.elements.get(map);
      const gone = [...touched].filter(([key, before]) => before !== undefined && now?.get(key) !== before);
      if (gone.length > 0) say('delete element', `${map} { ${gone.map(([key]) => key).join(', ')} }`);
    }
    for (const [map, touched] of this.touchedElements) {
      const fresh = [...touched].flatMap(([key, before]) => {
        const value = this.elements.get(map)?.get(key);
        return value === undefined || value === before ? [] : [element(key, value)];
      });
      if (fresh.length > 0) say('add element', `${map} { ${fresh.join(', ')} }`);
    }
    const removed = [...this.touchedChains].filter(
      ([name, before]) => before !== undefined && !this.chains.has(name),
    );
    for (const [name] of removed) say('flush chain', name);
    for (const [name] of removed) say('delete chain', name);
    for (const [name, before] of this.touchedSets) {
      if (before !== undefined && !this.sets.has(name)) say('delete set', name);
    }
    return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
  }

  /** The kernel has been told. */
  settled(): void {
    this.frameChanged = false;
    this.touchedSets.clear();
    this.touchedChains.clear();
    for (const map of this.touchedElements.keys()) {
      if (this.elements.get(map)?.size === 0) this.elements.delete(map);
    }
    this.touchedElements.clear();
  }

  private claim(owner: string, map: string, key: string, value: string): void {
    const held = this.elements.get(map)?.has(key) ?? false;
    if (!held) {
      this.write(map, key, value);
      return;
    }
    const id = `${map}\0${key}`;
    const owners = this.contested.get(id) ?? new Set(this.claimants(map, key));
    owners.add(owner);
    if (owners.size > 1) this.contested.set(id, owners);
    this.award(owners, map, key);
  }

  private release(owner: string, map: string, key: string): void {
    const id = `${map}\0${key}`;
    const owners = this.contested.get(id);
    if (!owners) {
      this.write(map, key, undefined);
      return;
    }
    owners.delete(owner);
    if (owners.size < 2) this.contested.delete(id);
    this.award(owners, map, key);
  }

  /** Rare: two Services with one external address and port. */
  private claimants(map: string, key: string): string[] {
    return [...this.fragments].flatMap(([owner]) =>
      this.valueOf(owner, map, key) === undefined ? [] : [owner],
    );
  }

  private award(owners: ReadonlySet<string>, map: string, key: string): void {
    const [first] = [...owners].sort();
    this.write(map, key, first === undefined ? undefined : this.valueOf(first, map, key));
  }

  private valueOf(owner: string, map: string, key: string): string | undefined {
    return this.fragments.get(owner)?.elements.find((entry) => entry[0] === map && entry[1] === key)?.[2];
  }

  private write(map: string, key: string, value: string | undefined): void {
    const values = this.elements.get(map) ?? new Map<string, string>();
    this.elements.set(map, values);
    const touched: Touched<string> = this.touchedElements.get(map) ?? new Map();
    this.touchedElements.set(map, touched);
    change(values, touched, key, value);
  }
}

function change<T>(held: Map<string, T>, touched: Touched<T>, key: string, value: T | undefined): void {
  if (!touched.has(key)) touched.set(key, held.get(key));
  if (value === undefined) held.delete(key);
  else held.set(key, value);
}

function sameRules(a: readonly string[] | undefined, b: readonly string[]): boolean {
  return a !== undefined && a.length === b.length && a.every((rule, index) => rule === b[index]);
}
