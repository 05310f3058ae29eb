// Imported when a YAML body comes, and not before: the parser is some megabytes.
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseAllDocuments } from 'yaml';
import { JsonSyntaxError, type ParsedJson, parseJson } from './json-text.ts';

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
    throw new JsonSyntaxError(
      `error converting YAML to JSON: yaml: line ${line}: ${firstLine(error.message)}`,
    );
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
