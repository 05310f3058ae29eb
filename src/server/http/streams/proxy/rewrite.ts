import { Transform, type TransformCallback } from 'node:stream';

/** The place below which the API shows a proxied server: `/api/v1/namespaces/x/services/y/proxy`. */
export interface Mount {
  prefix: string;
  /** Names that the server may call itself by: the address that was dialled, and what the client says it asks. */
  hosts: readonly [dialled: string, asked: string];
}

/**
 * A URL of a proxied answer (Location, a link) as it has to read for the client: absolute paths of the same host move
 * below the proxy. Others stay as they are (k8s.io/apimachinery/pkg/util/proxy, Transport.rewriteURL).
 */
export function rewriteUrl(url: string, { prefix, hosts }: Mount): string {
  const parts = /^(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?:\/\/([^/?#]*))?([^?#]*)(.*)$/s.exec(url.trim());
  if (!parts) return url;
  const [, scheme, host, path = '', rest = ''] = parts;
  const foreign = host !== undefined && host !== '' && !hosts.includes(host);
  if (foreign || !path.startsWith('/')) return url;
  // The client's own name for the host stays; the address that was dialled means nothing to it.
  const origin = host === hosts[1] ? `${scheme === undefined ? '' : `${scheme}:`}//${host}` : '';
  return `${origin}${path.startsWith(prefix) ? '' : prefix}${path}${rest}`;
}

/** Attributes that hold a URL, by tag. */
const URL_ATTRIBUTES: Readonly<Record<string, readonly string[]>> = {
  a: ['href'],
  applet: ['codebase'],
  area: ['href'],
  audio: ['src'],
  base: ['href'],
  blockquote: ['cite'],
  body: ['background'],
  button: ['formaction'],
  command: ['icon'],
  del: ['cite'],
  embed: ['src'],
  form: ['action'],
  frame: ['longdesc', 'src'],
  head: ['profile'],
  html: ['manifest'],
  iframe: ['longdesc', 'src'],
  img: ['longdesc', 'src', 'usemap'],
  input: ['src', 'usemap', 'formaction'],
  ins: ['cite'],
  link: ['href'],
  object: ['classid', 'codebase', 'data', 'usemap'],
  q: ['cite'],
  script: ['src'],
  source: ['src'],
  video: ['poster', 'src'],
};

/** Their content is text, whatever looks like a tag in it. */
const RAW_TEXT = new Set(['script', 'style', 'textarea', 'title', 'xmp', 'iframe', 'noembed', 'noframes']);
/** A longer tag passes unchanged: what waits for its end is bounded. */
const LONGEST_TAG = 64 * 1024;
const ATTRIBUTE = /([^\s"'<>/=]+)(\s*=\s*)("[^"]*"|'[^']*'|[^\s"'>]+)/g;

/**
 * Moves the links of an HTML page below the proxy while it flows through. Works on bytes (as latin1), so that any
 * encoding that holds ASCII passes unharmed, and changes nothing but the values of the attributes above.
 */
export class LinkRewriter extends Transform {
  private readonly mount: Mount;
  private waiting = '';
  /** The element whose raw text is being passed; empty: markup. */
  private raw = '';

  constructor(mount: Mount) {
    super();
    this.mount = mount;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.waiting += chunk.toString('latin1');
    this.emitText(this.settled(false));
    done();
  }

  override _flush(done: TransformCallback): void {
    this.emitText(this.settled(true) + this.waiting);
    done();
  }

  private emitText(text: string): void {
    if (text !== '') this.push(Buffer.from(text, 'latin1'));
  }

  /** What is certain of the text that waits; the rest goes on waiting, unless this is the end of it all. */
  private settled(last: boolean): string {
    let out = '';
    let at = 0;
    const text = this.waiting;
    while (at < text.length) {
      const start = this.raw === '' ? text.indexOf('<', at) : this.endOfRaw(text, at);
      if (start < 0) {
        // The name of an end tag may be cut in two.
        const kept = this.raw === '' || last ? text.length : Math.max(at, text.length - this.raw.length - 2);
        out += text.slice(at, kept);
        at = kept;
        break;
      }
      out += text.slice(at, start);
      at = start;
      this.raw = '';
      const end = endOfTag(text, start);
      if (end < 0) {
        if (!last && text.length - start < LONGEST_TAG) break;
        // No tag, or none that is believed: its `<` is text.
        out += '<';
        at = start + 1;
        continue;
      }
      out += this.tag(text.slice(start, end));
      at = end;
    }
    this.waiting = text.slice(at);
    return out;
  }

  private endOfRaw(text: string, from: number): number {
    const found = new RegExp(`</${this.raw}(?=[\\s/>])`, 'i').exec(text.slice(from));
    return found ? from + found.index : -1;
  }

  private tag(tag: string): string {
    const name = /^<([A-Za-z][^\s/>]*)/.exec(tag)?.[1]?.toLowerCase();
    if (name === undefined) return tag;
    if (RAW_TEXT.has(name) && !tag.endsWith('/>')) this.raw = name;
    const attributes = URL_ATTRIBUTES[name];
    if (!attributes) return tag;
    return tag.replace(ATTRIBUTE, (whole, attribute: string, equals: string, quoted: string) => {
      if (!attributes.includes(attribute.toLowerCase())) return whole;
      const quote = /^["']/.exec(quoted)?.[0] ?? '';
      const value = quote === '' ? quoted : quoted.slice(1, -1);
      return `${attribute}${equals}${quote}${rewriteUrl(value, this.mount)}${quote}`;
    });
  }
}

/** Behind the tag or comment that begins at `start`; -1 while its end is not there. */
function endOfTag(text: string, start: number): number {
  if (text.startsWith('<!--', start)) {
    const end = text.indexOf('-->', start + 4);
    return end < 0 ? -1 : end + 3;
  }
  if (text.length - start < 4 && '<!--'.startsWith(text.slice(start))) return -1;
  // Not a letter, `/`, `!` or `?`: a bare `<`.
  if (!/[A-Za-z/!?]/.test(text[start + 1] ?? '')) return start + 1;
  let quote = '';
  for (let at = start + 1; at < text.length; at += 1) {
    const char = text[at] as string;
    if (quote !== '') {
      if (char === quote) quote = '';
    } else if (char === '>') return at + 1;
    // A quote opens a value only behind `=`; elsewhere (`<a href=x">`) it is a letter like others.
    else if ((char === '"' || char === "'") && /=\s*$/.test(text.slice(Math.max(start, at - 16), at)))
      quote = char;
  }
  return -1;
}
