import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { renderPage } from '../src/report/page/page.ts';
import { openBrowser } from '../test/lib/browser.ts';
import { sampleReport } from '../test/lib/sample-report.ts';

/** Pictures of the page for the docs: `npm run screenshots`, or `-- FOLDER` to look at them first. */

const target = path.resolve(process.argv[2] ?? path.join(import.meta.dirname, '../docs/images'));
const folder = mkdtempSync(path.join(tmpdir(), 'celeriac-page-'));
const file = path.join(folder, 'report.html');
writeFileSync(file, renderPage(sampleReport()));
mkdirSync(target, { recursive: true });
const browser = await openBrowser();
for (const colorScheme of ['light', 'dark'] as const) {
  for (const width of [390, 1280]) {
    const page = await browser.newPage();
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme });
    await page.goto(pathToFileURL(file).href);
    const name = `report-${width}-${colorScheme}.png`;
    await page.screenshot({ path: path.join(target, name), fullPage: true });
    await page.close();
    console.log(path.join(target, name));
  }
}
await browser.close();
rmSync(folder, { recursive: true });
