import { describe, expect, it } from 'vitest';
import { canonicalImage, ImageArchitectures } from '../../../src/scheduler/image-hints.ts';
import { cluster, node, Pods, verdict } from '../../support/scheduling.ts';

const pods = new Pods();
const MIB = 2 ** 20;
const running = (image: string) => pods.make({ containers: [{ name: 'main', image }] });

describe('image names', () => {
  it.each([
    ['web', 'web:latest'],
    ['library/web:1', 'web:1'],
    ['docker.io/library/web', 'web:latest'],
    ['docker.io/me/web:2', 'me/web:2'],
    ['registry.local:5000/web', 'registry.local:5000/web:latest'],
    ['me/web@sha256:abc', 'me/web@sha256:abc'],
  ])('%s is %s', (name, canonical) => {
    expect(canonicalImage(name)).toBe(canonical);
  });
});

describe('architecture of the image', () => {
  const nodes = [
    node('pi', { labels: { 'kubernetes.io/arch': 'arm64' } }),
    node('old', { labels: { 'kubernetes.io/arch': 'arm' } }),
  ];

  it('keeps pods off boards that the image certainly has nothing for', () => {
    const images = new ImageArchitectures();
    images.learn('docker.io/library/web:1', 'arm64', false);
    expect(verdict(running('web:1'), cluster(nodes), { images })).toBe('old');
    images.learn('web:1', 'arm', false);
    expect(verdict(running('web:1'), cluster(nodes), { images })).toBe(
      "2 node(s) had a CPU architecture that the pod's images are not made for",
    );
    expect(verdict(running('web:2'), cluster(nodes), { images })).not.toContain('architecture');
  });

  it('tells when it learns better', () => {
    const images = new ImageArchitectures();
    const told: string[] = [];
    images.onChange((image) => told.push(image));
    images.learn('web:1', 'arm64', false);
    images.learn('web:1', 'arm64', false);
    images.learn('web:1', 'arm64', true);
    expect(told).toEqual(['web:1', 'web:1']);
    expect(images.lacking('web:1')?.has('arm64')).toBe(false);
  });
});

describe('image locality', () => {
  it('prefers a node that holds a large image, and follows what nodes hold', () => {
    const holder = node('b', { images: [{ names: ['web:1', 'web@sha256:1'], sizeBytes: 900 * MIB }] });
    const snapshot = cluster([node('a'), holder]);
    expect(verdict(running('web:1'), snapshot)).toBe('b');
    expect(verdict(running('docker.io/library/web:1'), snapshot)).toBe('b');
    snapshot.setNode(node('b'));
    expect(verdict(running('web:1'), snapshot)).toBe('a');
  });
});
