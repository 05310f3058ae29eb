// Imported when a YAML body comes, and not before: the parser is some megabytes.
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseAllDocuments } from 'yaml';
import { JsonSyntaxError, type ParsedJson, parseJson } from '../../api/json-text.ts';

export { stringify as writeYaml } from 'yaml';

/**
 * One YAML document as JSON data. Aliases are bounded (a few lines can unfold to gigabytes), and what JSON cannot hold is
 * refused. The result goes through JSON once more, so that depth and field names meet the same rules.
 */
export function parseYaml(text: string): ParsedJson {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, {
    uniqueKeys: false,
    schema: 'yaml-1.1',
    lineCounter: lines,
    merge: true,
  });
  const [document, ...more] = 'empty' in documents ? [] : documents;
  if (!document) return { value: null, duplicates: [] };
  if (more.length > 0) throw new JsonSyntaxError('the body holds more than one YAML document');
  const [error] = document.errors;
  if (error) {
    const { line } = lines.linePos(error.pos[0]);
    const { text: fault, counts } = inGo(firstLine(error.message));
    // Go's scanner counts lines from 1, its parser from 0, and the end is a line of its own. Neither speaks of the first.
    const atEnd = error.pos[0] >= text.length && !text.endsWith('\n');
    const number = counts === 'from 0' ? line - 1 + (atEnd ? 1 : 0) : line === 1 ? 0 : line;
    const where = number === 0 ? '' : `line ${number}: `;
    throw new JsonSyntaxError(`error converting YAML to JSON: yaml: ${where}${fault}`);
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (failure) {
    throw new JsonSyntaxError(
      `error converting YAML to JSON: yaml: ${firstLine((failure as Error).message)}`,
    );
  }
  const duplicates: string[] = [];
  if (document.contents) collectDuplicates(document.contents as Node, '', duplicates);
  return { value: parseJson(JSON.stringify(value ?? null)).value, duplicates };
}

/** What Go's parser, whose words clients know, says of the same fault. */
const IN_GO: readonly (readonly [ours: RegExp, text: string, counts: 'from 0' | 'from 1'])[] = [
  [/^Flow (sequence|map) .*must/, 'did not find expected node content', 'from 0'],
  [/^Nested mappings are not allowed/, 'mapping values are not allowed in this context', 'from 1'],
  [/^Missing closing/, 'found unexpected end of stream', 'from 1'],
  [/^Tabs are not allowed/, 'found character that cannot start any token', 'from 1'],
  [/^Plain value cannot start/, 'found character that cannot start any token', 'from 1'],
  [/^All mapping items must start/, 'did not find expected key', 'from 0'],
  [/^All sequence items must start/, "did not find expected '-' indicator", 'from 0'],
  [/^Unexpected flow-(map|seq)-end token/, 'did not find expected node content', 'from 0'],
];

function inGo(message: string): { text: string; counts: 'from 0' | 'from 1' } {
  const known = IN_GO.find(([ours]) => ours.test(message));
  return known ? { text: known[1], counts: known[2] } : { text: message, counts: 'from 1' };
}

const firstLine = (message: string): string =>
  message.split('\n', 1)[0]?.replace(/ at line \d+.*$/, '') ?? message;

function collectDuplicates(node: Node | null, path: string, found: string[]): void {
  if (node === null || isAlias(node)) return;
  if (isSeq(node)) {
    for (const [index, item] of node.items.entries())
      collectDuplicates(item as Node | null, `${path}[${index}]`, found);
  } else if (isMap(node)) {
    const seen = new Set<string>();
    for (const { key, value } of node.items) {
      const name = isScalar(key) ? String(key.value) : String(key);
      const at = path === '' ? name : `${path}.${name}`;
      if (seen.has(name)) found.push(at);
      seen.add(name);
      collectDuplicates(value as Node | null, at, found);
    }
  }
}
