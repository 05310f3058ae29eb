/**
 * The JSON text of objects that never change, kept while it is fresh: the engine, and every watcher of a change, use
 * one serialisation. Keyed by the object's identity, so that a text finds its way past layers that know only the
 * object. Bounded by the number of characters; the oldest text goes first.
 */
export class JsonCache {
  private readonly texts = new Map<object, string>();
  private readonly maxCharacters: number;
  private characters = 0;

  constructor(options: { maxCharacters: number }) {
    this.maxCharacters = options.maxCharacters;
  }

  json(object: object): string {
    const known = this.texts.get(object);
    if (known !== undefined) return known;
    const text = JSON.stringify(object);
    if (text.length > this.maxCharacters) return text;
    this.texts.set(object, text);
    this.characters += text.length;
    for (const [oldest, oldText] of this.texts) {
      if (this.characters <= this.maxCharacters) break;
      this.texts.delete(oldest);
      this.characters -= oldText.length;
    }
    return text;
  }
}
