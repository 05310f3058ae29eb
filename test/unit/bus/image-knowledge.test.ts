import { describe, expect, it } from 'vitest';
import { ImageArchitectures } from '../../../src/scheduler/image-hints.ts';
import { ImageKnowledge, statusAfterImages } from '../../../src/server/bus/image-knowledge.ts';
import type { ImageReport } from '../../../src/wire/messages.ts';

const report = (lacking: string[], architecture = 'arm64'): ImageReport => ({
  v: 1,
  images: [],
  architecture,
  lacking,
});

describe('what boards say of images', () => {
  it('holds until every board of that architecture has taken it back', () => {
    const hints = new ImageArchitectures();
    const knowledge = new ImageKnowledge(hints);
    const lacks = (architecture = 'arm64') =>
      hints.lacking('docker.io/library/web:1')?.has(architecture) ?? false;
    knowledge.came('a', report(['web:1']));
    knowledge.came('b', report(['web:1', 'other:1']));
    knowledge.came('c', report(['web:1'], 'arm'));
    expect([lacks(), lacks('arm'), lacks('amd64')]).toEqual([true, true, false]);
    knowledge.came('a', report([]));
    expect(lacks()).toBe(true);
    knowledge.forget('b');
    expect([lacks(), lacks('arm')]).toEqual([false, true]);
    expect(hints.lacking('other:1')?.has('arm64')).toBe(false);
  });

  it('is told to the scheduler once', () => {
    const hints = new ImageArchitectures();
    const told: string[] = [];
    hints.onChange((image) => told.push(image));
    const knowledge = new ImageKnowledge(hints);
    knowledge.came('a', report(['web:1']));
    knowledge.came('a', report(['web:1']));
    expect(told).toEqual(['web:1']);
  });

  it('becomes node.status.images, the rest of the status untouched', () => {
    const images = [{ names: ['web:1'], sizeBytes: 5 }];
    const status = statusAfterImages({ capacity: { cpu: '4' } }, { ...report([]), images });
    expect(status).toEqual({ capacity: { cpu: '4' }, images });
    expect(statusAfterImages(status, { ...report([]), images })).toBeUndefined();
  });
});
