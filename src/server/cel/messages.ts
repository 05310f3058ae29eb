// Kubernetes' CEL makes objects by naming their type, `Object.metadata{labels: …}` or `JSONPatch{op: 'add', …}`. The library
// does not know that form: it is rewritten to a call with a map, `message('Object.metadata', {'labels': …})`.

const TOKEN =
  /\s+|\/\/[^\n]*|(?:[rR][bB]?|[bB][rR]?)?(?:"""[\s\S]*?"""|'''[\s\S]*?'''|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|[_a-zA-Z][_a-zA-Z0-9]*|`[^`\n]*`|[\s\S]/gy;
const NAME = /^[_a-zA-Z]/;
const TYPES = ['JSONPatch', 'Object'];
/** Before the name of a field whose value is an optional: left out when that is none. */
export const OPTIONAL = '?';

interface Token {
  text: string;
  offset: number;
}

/** The expression with its messages as calls; text and order of everything else stay. */
export function rewriteMessages(source: string): string {
  if (!TYPES.some((type) => source.includes(type))) return source;
  const all = [...source.matchAll(TOKEN)].map(({ 0: text, index }) => ({ text, offset: index }));
  const tokens = all.filter(({ text }) => !/^\s|^\/\//.test(text));
  let made = '';
  let copied = 0;
  const put = (upTo: number, text: string, from: number): void => {
    made += source.slice(copied, upTo) + text;
    copied = from;
  };
  /** What each open bracket is; `true` for a message's. */
  const open: boolean[] = [];
  let atField = false;
  for (let index = 0; index < tokens.length; index += 1) {
    const { text, offset } = tokens[index] as Token;
    const chain = messageAt(tokens, index);
    if (chain) {
      const brace = tokens[chain.end] as Token;
      put(offset, `message('${chain.name}', {`, brace.offset + 1);
      index = chain.end;
      open.push(true);
      atField = true;
      continue;
    }
    if (atField && text === '?') {
      put(offset, '', offset + 1);
      continue;
    }
    if (atField && (NAME.test(text) || text.startsWith('`')) && tokens[index + 1]?.text === ':') {
      const optional = tokens[index - 1]?.text === '?';
      const name = text.replaceAll('`', '');
      put(offset, JSON.stringify(`${optional ? OPTIONAL : ''}${name}`), offset + text.length);
    }
    if (text === '{' || text === '[' || text === '(') open.push(false);
    if (text === '}' || text === ']' || text === ')') {
      if (open.pop()) put(offset, '})', offset + 1);
    }
    atField = text === ',' && open.at(-1) === true;
  }
  return made + source.slice(copied);
}

/** A dotted name of one of the types, with an opening brace after it. */
function messageAt(tokens: readonly Token[], start: number): { name: string; end: number } | undefined {
  const first = tokens[start]?.text ?? '';
  if (!TYPES.includes(first) || tokens[start - 1]?.text === '.') return undefined;
  let name = first;
  let end = start + 1;
  while (tokens[end]?.text === '.' && NAME.test(tokens[end + 1]?.text ?? '')) {
    name += `.${tokens[end + 1]?.text}`;
    end += 2;
  }
  return tokens[end]?.text === '{' ? { name, end } : undefined;
}
