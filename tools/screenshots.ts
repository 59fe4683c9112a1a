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
const healthy = path.join(folder, 'healthy.html');
const checks = sampleReport().checks.filter(({ verdict }) => verdict === 'pass');
const verdict = {
  conclusion: 'healthy',
  sentence: `Healthy: ${checks.length} checks passed.`,
} as const;
writeFileSync(healthy, renderPage(sampleReport({ verdict, checks })));
mkdirSync(target, { recursive: true });
const browser = await openBrowser();
for (const colorScheme of ['light', 'dark'] as const) {
  for (const width of [390, 1280]) {
    const page = await browser.newPage();
    await page.setViewportSize({ width, height: 920 });
    await page.emulateMedia({ colorScheme });
    await page.goto(pathToFileURL(file).href);
    const take = async (name: string, fullPage: boolean): Promise<void> => {
      await page.screenshot({ path: path.join(target, name), fullPage });
      console.log(path.join(target, name));
    };
    await take(`report-${width}-${colorScheme}.png`, true);
    if (width > 1000) {
      // The beginning alone, of a worker that is well, for the README.
      await page.goto(pathToFileURL(healthy).href);
      await take(`report-${colorScheme}.png`, false);
    }
    await page.close();
  }
}
await browser.close();
rmSync(folder, { recursive: true });
