import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { busybox, podOf } from '../support/manifests.ts';
import { onBoards } from '../support/on-boards.ts';

// The dashboard in a real browser, on the board's own loopback. The screenshot is left in test-results/ to be looked at.
const RESULTS = new URL('../../test-results/', import.meta.url).pathname;

describe('dashboard', () => {
  let browser: Browser;
  const {
    boards: [board],
    cluster,
    kubectl,
    apply,
  } = onBoards(['pi-one']);

  beforeAll(async () => {
    const wrapper = join(cluster.directory, 'chromium');
    writeFileSync(wrapper, `#!/bin/sh\nexec ${board.enter.join(' ')} /usr/bin/chromium "$@"\n`);
    chmodSync(wrapper, 0o755);
    browser = await chromium.launch({
      executablePath: wrapper,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    });
  });

  afterAll(() => browser?.close());

  it('shows boards and pods live, and a pod’s log', async () => {
    const page = await browser.newPage({ ignoreHTTPSErrors: true, viewport: { width: 1100, height: 800 } });
    const foreign: string[] = [];
    page.on('request', (request) => {
      if (!request.url().startsWith('https://127.0.0.1:6443/') && !request.url().startsWith('data:')) {
        foreign.push(request.url());
      }
    });
    await page.goto('https://127.0.0.1:6443/');
    await page.getByLabel('Token').fill('wrong');
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByText('The server does not know this token.').waitFor();

    const token = readFileSync(join(cluster.dataDir, 'server', 'dashboard-token'), 'utf8').trim();
    await page.getByLabel('Token').fill(token);
    await page.getByRole('button', { name: 'Log in' }).click();
    const card = page.locator('[data-node="pi-one"]');
    await card.getByText('Ready', { exact: true }).waitFor();
    await card.getByText(/heartbeat \d+s ago/).waitFor({ timeout: 30_000 });

    // What is made while the page is open appears on it.
    await apply(podOf('talker', { containers: [busybox('echo hello from the board; sleep 1000000')] }));
    const row = page.locator('[data-pod="talker"]');
    await row.getByText('Running').waitFor({ timeout: 30_000 });
    mkdirSync(RESULTS, { recursive: true });
    await page.screenshot({ path: join(RESULTS, 'dashboard.png'), fullPage: true });
    await row.getByRole('button', { name: 'Logs' }).click();
    await page.getByText('hello from the board').waitFor({ timeout: 15_000 });
    await page.screenshot({ path: join(RESULTS, 'dashboard-logs.png') });

    await kubectl.ok(['delete', 'pod', 'talker', '--grace-period=1']);
    await row.waitFor({ state: 'detached', timeout: 30_000 });
    expect(foreign).toEqual([]);
  });
});
