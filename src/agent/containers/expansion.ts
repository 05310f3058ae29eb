/**
 * Kubernetes' `$(NAME)` references: replaced when the name is known, left as written when it is not; `$$` is a literal
 * dollar sign, so that `$$(NAME)` is not a reference.
 */
export function expand(text: string, lookup: (name: string) => string | undefined): string {
  let result = '';
  let index = 0;
  while (index < text.length) {
    const dollar = text.indexOf('$', index);
    if (dollar < 0 || dollar === text.length - 1) return result + text.slice(index);
    result += text.slice(index, dollar);
    const next = text[dollar + 1];
    if (next === '$') {
      result += '$';
      index = dollar + 2;
      continue;
    }
    const end = next === '(' ? text.indexOf(')', dollar + 2) : -1;
    if (end < 0) {
      result += text.slice(dollar, dollar + 2);
      index = dollar + 2;
      continue;
    }
    const name = text.slice(dollar + 2, end);
    result += lookup(name) ?? `$(${name})`;
    index = end + 1;
  }
  return result;
}
