import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, chromium } from 'playwright-core';
import { findBrowser } from '../../tools/find-browser.ts';

/** A browser with a profile of its own, which is removed with it. */
export async function openBrowser(): Promise<BrowserContext> {
  const executablePath = findBrowser();
  if (executablePath === null) {
    throw new Error('no Chromium on PATH: set CHROME_PATH, or install it');
  }
  const profile = mkdtempSync(join(tmpdir(), 'celeriac-browser-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
  // Its processes may still write there.
  const patience = { maxRetries: 30, retryDelay: 100 };
  context.on('close', () => rmSync(profile, { recursive: true, force: true, ...patience }));
  return context;
}
