const NAME = /^[a-z0-9_]([-a-z0-9_.]*[a-z0-9_])?$/;
const IPV6 = /^\[[0-9a-f:.]+\]$/;

/** The name in a Host header or :authority: lower case, without port and final dot. Undefined where it is none. */
export function hostName(authority: string): string | undefined {
  const name = authority.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
  return name.length <= 253 && (NAME.test(name) || IPV6.test(name)) ? name : undefined;
}

/** What a wildcard has to be of for this name: `*.example.com` stands for one label more than `example.com`. */
export function parentName(name: string): string | undefined {
  const dot = name.indexOf('.');
  return dot <= 0 ? undefined : name.slice(dot + 1);
}
