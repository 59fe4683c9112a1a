import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import axe, { type AxeResults } from 'axe-core';
import type { BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Report } from '../../src/model/report.ts';
import { renderPage } from '../../src/report/page/page.ts';
import { coarsen } from '../../src/report/timeline.ts';
import { openBrowser } from '../lib/browser.ts';
import { emptyReport, hostileReport, sampleReport } from '../lib/sample-report.ts';

const folder = mkdtempSync(join(tmpdir(), 'celeriac-page-'));
let browser: BrowserContext;

beforeAll(async () => {
  browser = await openBrowser();
});

afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true });
});

interface Look {
  readonly width: number;
  readonly colorScheme: 'light' | 'dark';
}

interface Opened {
  readonly page: Page;
  /** What the browser complains of. */
  readonly complaints: readonly string[];
  /** What it asked for, but the page itself. */
  readonly requests: readonly string[];
  /** As it is beside the page. */
  readonly json: Report;
}

/** The page and its JSON as verify writes them, in a browser. */
async function open(report: Report, { width, colorScheme }: Look): Promise<Opened> {
  const files = mkdtempSync(join(folder, 'report-'));
  writeFileSync(join(files, 'report.html'), renderPage(report));
  writeFileSync(join(files, 'report.json'), JSON.stringify(report));
  const address = pathToFileURL(join(files, 'report.html')).href;
  const page = await browser.newPage();
  const complaints: string[] = [];
  const requests: string[] = [];
  page.on('console', (message) => complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => {
    if (request.url() !== address) requests.push(request.url());
  });
  await page.setViewportSize({ width, height: 900 });
  await page.emulateMedia({ colorScheme });
  await page.goto(address);
  const json = JSON.parse(readFileSync(join(files, 'report.json'), 'utf8'));
  return { page, complaints, requests, json };
}

/** What axe finds, with every folded part open. */
async function violations(page: Page): Promise<readonly string[]> {
  await page.evaluate(() => {
    for (const each of document.querySelectorAll('details')) each.open = true;
  });
  await page.evaluate(axe.source);
  const { violations: found } = await page.evaluate(() =>
    (globalThis as unknown as { axe: { run(): Promise<AxeResults> } }).axe.run(),
  );
  return found.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html.slice(0, 200)}`));
}

const looks: readonly Look[] = [390, 1280].flatMap((width) =>
  (['light', 'dark'] as const).map((colorScheme) => ({ width, colorScheme })),
);

/** One wide and one narrow, one light and one dark. */
const opposites = looks.filter(
  ({ width, colorScheme }) => width > 400 === (colorScheme === 'light'),
);

describe.each([
  ['with every part', sampleReport(), looks],
  ['of which nothing is known', emptyReport(), looks],
  ['with hostile texts', hostileReport(), opposites],
] as const)('a report %s', (_, report, chosen) => {
  test.each(chosen)('$width px, $colorScheme', async (look) => {
    const { page, complaints, requests } = await open(report, look);
    expect(await page.title()).toContain('Not healthy');
    expect(await violations(page)).toEqual([]);
    const overflow = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    expect(overflow).toBe(0);
    expect(await page.evaluate(() => document.scripts.length)).toBe(0);
    expect(complaints).toEqual([]);
    expect(requests).toEqual([]);
    await page.close();
  });
});

/** Numbers of the elements that a selector finds, row by row. */
const numbersIn = (page: Page, rows: string): Promise<readonly (readonly number[])[]> =>
  page.evaluate(
    (selector) =>
      [...document.querySelectorAll(selector)].map((row) =>
        [...row.querySelectorAll('data')].map(({ value }) => Number(value)),
      ),
    rows,
  );

const textsOf = (page: Page, selector: string): Promise<readonly string[]> =>
  page.evaluate(
    (each) => [...document.querySelectorAll(each)].map(({ textContent }) => textContent ?? ''),
    selector,
  );

const known = (values: readonly (number | null | undefined)[]): readonly number[] =>
  values.filter((value) => value != null);

describe('what a person reads equals the JSON', () => {
  let opened: Opened;

  beforeAll(async () => {
    opened = await open(sampleReport(), { width: 1280, colorScheme: 'light' });
  });

  afterAll(() => opened.page.close());

  test('the JSON is where the link says', async () => {
    const link = opened.page.locator('footer a');
    expect(await link.getAttribute('href')).toBe('report.json');
    expect(opened.json).toEqual(sampleReport());
  });

  test('the verdict', async () => {
    const { page, json } = opened;
    const [word, sentence] = [
      ...(await textsOf(page, '.word')),
      ...(await textsOf(page, '#sentence')),
    ];
    expect(`${word}: ${sentence}`).toBe(json.verdict.sentence);
  });

  test('checks, with their evidence', async () => {
    const { page, json } = opened;
    const found = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>('#check-list > li')].map((item) => ({
        id: item.dataset.id,
        verdict: item.dataset.verdict,
        seen: item.querySelector('.seen')?.textContent,
        expected: item.querySelector('.expected')?.textContent ?? '',
        next: item.querySelector('.next')?.textContent ?? '',
        evidence: item.querySelector('pre')?.textContent?.split('\n') ?? [],
      })),
    );
    const plain = (text: string) => text.replaceAll('`', '');
    const byId = (list: readonly { readonly id?: string | undefined }[]) =>
      list.toSorted((one, other) => ((one.id ?? '') < (other.id ?? '') ? -1 : 1));
    expect(byId(found)).toEqual(
      byId(json.checks.map(({ title: _, ...check }) => ({ ...check, next: plain(check.next) }))),
    );
  });

  test('memory and queues over time', async () => {
    const { page, json } = opened;
    if (json.timeline === null) throw new Error('no timeline');
    const { buckets } = coarsen(json.timeline, 48);
    expect(await numbersIn(page, '#memory-table tbody tr')).toEqual(
      buckets.map((each) =>
        known([
          ...[each.memory?.min, each.memory?.max, each.main, each.children, each.swap],
          ...[each.high, each.max, each.errors, each.rateLimited, each.oomKills],
        ]),
      ),
    );
    const [, ...names] = await textsOf(page, '#queue-table thead th');
    expect(await numbersIn(page, '#queue-table tbody tr')).toEqual(
      buckets.map(({ queues, active }) =>
        known([...names.slice(0, -1).map((name) => queues?.[name]?.max), active]),
      ),
    );
  });

  test('the line of the memory, as it is drawn', async () => {
    const { page, json } = opened;
    const buckets = json.timeline?.buckets ?? [];
    const drawn = await page.evaluate(() => {
      const svg = document.querySelector('#memory ~ svg.wide');
      const path = svg?.querySelector('.series .line')?.getAttribute('d') ?? '';
      const level = svg?.querySelector('.level.max path')?.getAttribute('d') ?? '';
      const heights = (d: string) => [...d.matchAll(/,([\d.]+)/g)].map(([, y]) => Number(y));
      const axis = [...(svg?.querySelectorAll('.grid path') ?? [])][0]?.getAttribute('d') ?? '';
      return {
        line: heights(path),
        max: heights(level)[0] ?? 0,
        zero: Number(/ ([\d.]+)H/.exec(axis)?.[1]),
      };
    });
    // The scale of the drawing, by the line of MemoryMax.
    const max = buckets.at(-1)?.max ?? 0;
    const bytesAt = (y: number) => ((drawn.zero - y) / (drawn.zero - drawn.max)) * max;
    expect(drawn.line).toHaveLength(buckets.length);
    for (const [index, y] of drawn.line.entries()) {
      const wanted = buckets[index]?.memory?.max ?? 0;
      expect(Math.abs(bytesAt(y) - wanted) / max).toBeLessThan(0.002);
    }
  });

  test('latency, comparison, repairs and releases', async () => {
    const { page, json } = opened;
    expect(await numbersIn(page, '#latency-table tbody tr')).toEqual(
      json.latency?.map(({ done, sent, median, slowest }) => known([done, sent, median, slowest])),
    );
    expect(await numbersIn(page, '#comparison-table tbody tr')).toEqual(
      json.comparison?.rows.map(({ before, now }) => known([before, now])),
    );
    expect(await numbersIn(page, '#repair-table tbody tr')).toEqual(
      json.repairs?.map(({ rows }) => [rows]),
    );
    expect(await numbersIn(page, '#release-table tbody tr')).toEqual(
      json.releases?.map(({ release }) => [release]),
    );
    expect(
      await page.evaluate(() =>
        [...document.querySelectorAll<HTMLElement>('#release-table tbody tr')].map(
          ({ dataset }) => dataset.state,
        ),
      ),
    ).toEqual(json.releases?.map(({ state }) => state));
  });

  test('the diff of the unit, and the hours of the proof', async () => {
    const { page, json } = opened;
    const [diff = ''] = await textsOf(page, 'pre.diff');
    expect(diff.trimEnd()).toBe(json.unitDiff?.text);
    const hours = await textsOf(page, '#soak-strip .hour:not(.open)');
    expect(hours).toHaveLength(json.soak?.hours.length ?? -1);
  });
});

describe('without a mouse', () => {
  test('the keyboard gets to the report at once, and to each table', async () => {
    const { page } = await open(sampleReport(), { width: 1280, colorScheme: 'light' });
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe(
      'Skip to the report',
    );
    await page.keyboard.press('Enter');
    expect(page.url()).toMatch(/#main$/);
    const reachable = new Set<string>();
    for (let press = 0; press < 60; press += 1) {
      await page.keyboard.press('Tab');
      const label = await page.evaluate(() => document.activeElement?.getAttribute('aria-label'));
      if (label != null) reachable.add(label);
    }
    expect([...reachable]).toEqual(
      expect.arrayContaining(['Latency by queue', 'Comparison', 'Jobs repaired', 'Releases']),
    );
    await page.close();
  });

  test('a screen reader has one heading for the page, and one for each part', async () => {
    const { page } = await open(sampleReport(), { width: 1280, colorScheme: 'light' });
    expect(await page.getByRole('heading', { level: 1 }).count()).toBe(1);
    const parts = await page.getByRole('heading', { level: 2 }).allTextContents();
    expect(parts).toHaveLength(await page.getByRole('navigation').getByRole('link').count());
    expect(await page.getByRole('img', { name: 'Memory of the worker over time' }).count()).toBe(1);
    await page.close();
  });
});

test('on paper, the evidence is unfolded and nothing scrolls', async () => {
  const { page } = await open(sampleReport(), { width: 1280, colorScheme: 'light' });
  await page.emulateMedia({ media: 'print' });
  const heights = await page.evaluate(() =>
    [...document.querySelectorAll('.checks pre')].map(
      (each) => each.getBoundingClientRect().height,
    ),
  );
  expect(heights.length).toBeGreaterThan(1);
  expect(Math.min(...heights)).toBeGreaterThan(0);
  expect((await page.pdf()).subarray(0, 5).toString()).toBe('%PDF-');
  await page.close();
});
