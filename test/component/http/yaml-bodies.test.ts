import { describe, expect, it } from 'vitest';
import { JsonSyntaxError } from '../../../src/api/json-text.ts';
import { YamlBodies } from '../../../src/server/http/yaml-bodies.ts';
import { parseYaml } from '../../../src/server/http/yaml-text.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const LONG = 100_000;

function configMap(length: number, tail = ''): string {
  let text = 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: big\ndata:\n';
  for (let index = 0; text.length < length; index += 1) text += `  key${index}: "value ${index}"\n`;
  return text + tail;
}

const bodies = (options: Partial<ConstructorParameters<typeof YamlBodies>[0]> = {}): YamlBodies =>
  new YamlBodies({ clock: new VirtualClock(), ...options });

describe('a long YAML body', () => {
  it('is read while the event loop goes on', async () => {
    let turns = 0;
    let over = false;
    const turn = (): void => {
      turns += 1;
      if (!over) setImmediate(turn);
    };
    setImmediate(turn);
    await bodies().parse(configMap(LONG));
    over = true;
    // Read here it would be one or two.
    expect(turns).toBeGreaterThan(100);
  });

  it('gives what a short one gives: value, fields that occur twice, the words of a mistake', async () => {
    const twice = configMap(LONG, '  key7: again\n');
    const found = await bodies().parse(twice);
    expect(found).toEqual(parseYaml(twice));
    expect(found.duplicates).toEqual(['data.key7']);

    const wrong = configMap(LONG, '  a: b: c\n');
    const words = (): string => {
      try {
        return String(parseYaml(wrong).value);
      } catch (error) {
        return (error as Error).message;
      }
    };
    await expect(bodies().parse(wrong)).rejects.toThrow(new JsonSyntaxError(words()));
  });

  it('is refused with 413 when reading it takes too much memory', async () => {
    const dense = `a: [${'1,'.repeat(150_000)}1]`;
    await expect(bodies({ threadMebibytes: 16 }).parse(dense)).rejects.toMatchObject({ code: 413 });
  });

  it('is given up after half a minute', async () => {
    const clock = new VirtualClock();
    const parsing = bodies({ clock }).parse(configMap(LONG));
    const outcome = expect(parsing).rejects.toMatchObject({ code: 504 });
    await clock.advance(30_000);
    await outcome;
  });

  it('waits for others, of which there are not too many', async () => {
    const reader = bodies();
    const all = await Promise.allSettled(Array.from({ length: 10 }, () => reader.parse(configMap(9_000))));
    const refused = all.filter((each) => each.status === 'rejected').map(({ reason }) => reason.code);
    expect(refused).toEqual([429, 429]);
    // And its place is given back.
    await expect(reader.parse(configMap(9_000))).resolves.toBeDefined();
  });
});

describe('JSON that is sent as YAML', () => {
  it('is read as JSON, however long', async () => {
    const object = { data: Object.fromEntries(Array.from({ length: 20_000 }, (_, key) => [`k${key}`, 'v'])) };
    let turned = false;
    setImmediate(() => {
      turned = true;
    });
    // No thread: it is there before the event loop turns.
    expect((await bodies().parse(JSON.stringify(object))).value).toEqual(object);
    expect(turned).toBe(false);
  });

  it('may be YAML after all', async () => {
    expect((await bodies().parse('{a: b, c: [d]}')).value).toEqual({ a: 'b', c: ['d'] });
  });
});
