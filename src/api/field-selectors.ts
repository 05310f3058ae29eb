// Field selectors of queries: `status.phase!=Running,metadata.name=web`.
import { SelectorError } from './selectors.ts';

export interface FieldRequirement {
  field: string;
  value: string;
  negated: boolean;
}

/** Throws SelectorError with apimachinery's words. */
export function parseFieldSelector(text: string): FieldRequirement[] {
  if (text === '') return [];
  const requirements: FieldRequirement[] = [];
  for (const term of splitTerms(text)) {
    if (term === '') continue;
    const match = /^((?:[^\\=!]|\\.|!(?!=))*)(==|!=|=)([\s\S]*)$/.exec(term);
    if (!match) throw new SelectorError(`invalid selector: '${text}'; can't understand '${term}'`);
    const [, field = '', operator, value = ''] = match;
    requirements.push({ field, value: unescaped(value), negated: operator === '!=' });
  }
  return requirements;
}

function splitTerms(text: string): string[] {
  const terms: string[] = [];
  let current = '';
  for (let index = 0; index < text.length; index += 1) {
    const mark = text[index] as string;
    if (mark === '\\') {
      current += mark + (text[index + 1] ?? '');
      index += 1;
    } else if (mark === ',') {
      terms.push(current);
      current = '';
    } else {
      current += mark;
    }
  }
  terms.push(current);
  return terms;
}

function unescaped(value: string): string {
  return value.replaceAll(/\\([\s\S]?)/g, (whole, escaped: string) => {
    if (escaped === '\\' || escaped === ',' || escaped === '=') return escaped;
    throw new SelectorError(`invalid field selector: invalid escape sequence: ${whole}`);
  });
}
