import { describe, expect, it } from 'vitest';
import { programArchitecture, runsOn } from '../../../../src/agent/images/platform.ts';
import { type PullEntry, PullProgress, toldAt } from '../../../../src/agent/images/progress.ts';
import { ImageRecords } from '../../../../src/agent/images/records.ts';
import { MemoryJournal } from '../../../support/memory-journal.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

describe('architectures', () => {
  it.each([
    ['arm64', 'arm64', true],
    ['arm64', 'arm', true],
    ['arm', 'arm64', false],
    ['amd64', '386', true],
    ['amd64', 'arm64', false],
    ['arm64', 'amd64', false],
    ['amd64', '', true],
  ])('a board of %s and an image for %s: %s', (board, image, runs) => {
    expect(runsOn(board, image, [])).toBe(runs);
  });

  it('run elsewhere with an emulator that the kernel has', () => {
    expect(runsOn('amd64', 'arm64', ['qemu-arm', 'qemu-aarch64'])).toBe(true);
    expect(runsOn('amd64', 'riscv64', ['qemu-aarch64'])).toBe(false);
  });

  it('are read from a program', () => {
    const elf = (machine: number): Buffer => {
      const head = Buffer.alloc(20);
      head.writeUInt32BE(0x7f454c46);
      head[5] = 1;
      head.writeUInt16LE(machine, 18);
      return head;
    };
    expect([elf(183), elf(62), elf(40), elf(9999)].map(programArchitecture)).toEqual([
      'arm64',
      'amd64',
      'arm',
      undefined,
    ]);
    expect(programArchitecture(Buffer.from('#!/bin/sh\necho hello and more'))).toBeUndefined();
  });
});

describe('the progress of a pull', () => {
  it('adds up its layers', () => {
    const progress = new PullProgress();
    expect(progress.text()).toBeUndefined();
    const lines: PullEntry[] = [
      { status: 'Pulling from library/web', id: '1' },
      { status: 'Already exists', id: 'a' },
      { status: 'Pulling fs layer', id: 'b' },
      { status: 'Pulling fs layer', id: 'c' },
      { status: 'Downloading', id: 'b', progressDetail: { current: 1024 * 1024, total: 4 * 1024 * 1024 } },
    ];
    for (const line of lines) progress.add(line);
    expect(progress.text()).toBe('1.0 MiB of at least 4.0 MiB, 1 of 3 layers done');
    progress.add({ status: 'Downloading', id: 'c', progressDetail: { current: 0, total: 1024 * 1024 } });
    progress.add({ status: 'Pull complete', id: 'b' });
    expect(progress.text()).toBe('4.0 MiB of 5.0 MiB, 2 of 3 layers done');
  });

  it('is told ever less often', () => {
    expect([0, 1, 2, 3, 4, 5, 6].map((count) => toldAt(count) / 1000)).toEqual([
      30, 60, 120, 240, 480, 780, 1080,
    ]);
  });
});

describe('who may have an image that is there (KEP-2535)', () => {
  const secret = (uid: string, hash: string) => ({
    auth: { username: 'u', password: 'p', serverAddress: 'r' },
    source: { namespace: 'default', name: uid, uid, hash },
  });
  const make = (journal = new MemoryJournal()) => ({
    journal,
    records: new ImageRecords({ journal, clock: new VirtualClock() }),
  });
  const MAY = 'NeverVerifyPreloadedImages';

  it('one that was not pulled by the agent: everybody, unless all is verified', () => {
    const { records } = make();
    expect(records.mayUse('i', MAY, () => [])).toBe(true);
    expect(records.mayUse('i', 'AlwaysVerify', () => [])).toBe(false);
    expect(records.mayUse('i', 'NeverVerify', () => [])).toBe(true);
  });

  it('one pulled without credentials: everybody', () => {
    const { records } = make();
    records.pulled('i', { name: 'web:1', before: undefined });
    expect(records.mayUse('i', 'AlwaysVerify', () => [])).toBe(true);
    records.pulled('i', { name: 'web:1', before: 'i', credential: secret('a', '1') });
    expect(records.mayUse('i', MAY, () => [])).toBe(true);
  });

  it('one pulled with a Secret: the same Secret, or the same credential in another, also after a restart', () => {
    const { records, journal } = make();
    records.pulled('i', { name: 'web:1', before: undefined, credential: secret('a', '1') });
    for (const each of [records, make(journal.reopened()).records]) {
      expect(each.mayUse('i', MAY, () => [])).toBe(false);
      expect(each.mayUse('i', MAY, () => [secret('b', '2')])).toBe(false);
      expect(each.mayUse('i', 'NeverVerify', () => [])).toBe(true);
      expect(each.mayUse('i', MAY, () => [secret('a', 'rotated')])).toBe(true);
    }
    expect(records.mayUse('i', MAY, () => [secret('c', '1')])).toBe(false);
    expect(records.mayUse('i', MAY, () => [secret('c', 'rotated')])).toBe(true);
    expect(records.mayUse('i', MAY, () => [secret('c', 'again')])).toBe(true);
  });

  it('an image that was here before its pull is not the agent’s to remove', () => {
    const { records } = make();
    records.pulled('old', { name: 'web:1', before: 'old' });
    records.pulled('new', { name: 'web:1', before: 'old' });
    expect([records.of('old')?.brought, records.of('new')?.brought]).toEqual([false, true]);
  });
});
