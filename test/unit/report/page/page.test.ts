import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { formatBytes, formatDuration } from '../../../../src/model/quantities.ts';
import { bytes, epochSeconds, MiB } from '../../../../src/model/units.ts';
import { renderPage, styleHash } from '../../../../src/report/page/page.ts';
import { style } from '../../../../src/report/page/style.ts';
import { reportShape } from '../../../../src/report/report-shape.ts';
import { timelineOf } from '../../../../src/report/timeline.ts';
import {
  daySamples,
  emptyReport,
  hostileReport,
  sampleAt,
  sampleReport,
} from '../../../lib/sample-report.ts';

const empty = emptyReport();
const hostile = hostileReport();

const sectionOf = (page: string, id: string): string =>
  /[\s\S]*?<\/section>/.exec(page.slice(page.indexOf(`<section aria-labelledby="${id}"`)))?.[0] ??
  '';

const numbersOf = (text: string): readonly number[] =>
  [...text.matchAll(/<data value="([^"]*)"/g)].map(([, value]) => Number(value));

/** What a page could load or run. */
function loads(page: string): readonly string[] {
  const markup = page.replace(/<style>[\s\S]*?<\/style>/, '');
  const opened = markup.match(/<[a-z][^>]*>/gi) ?? [];
  const names = opened.map((tag) => tag.replace(/="[^"]*"/g, '='));
  return [
    ...names.filter((tag) =>
      /^<(?:script|img|iframe|object|embed|link|base|form|video|audio)\b/i.test(tag),
    ),
    ...names.filter((tag) => /.["'<]|\s(?:src|srcset|on\w+|style|action|background)=/i.test(tag)),
    ...(page.match(/url\(|@import|expression\(/gi) ?? []),
    ...opened.flatMap((tag) =>
      [...tag.matchAll(/href="([^"]*)"/g)]
        .map(([, target = '']) => target)
        .filter((target) => !/^(?:#[a-z]+|report\.json|https:\/\/[^"]+)$/.test(target)),
    ),
  ];
}

test('the sample that these tests use has the published shape', () => {
  expect(reportShape.strict().safeParse(sampleReport()).error).toBeUndefined();
});

test('the policy of the page names the hash of its style sheet', () => {
  const hash = createHash('sha256').update(style).digest('base64');
  expect(styleHash).toBe(`sha256-${hash}`);
  expect(renderPage(sampleReport())).toContain(`style-src 'sha256-${hash}'`);
});

test.each([
  ['with every part', sampleReport()],
  ['of nothing', empty],
  ['with hostile texts', hostile],
])('a page %s loads nothing and has no script', (_, report) => {
  expect(loads(renderPage(report))).toEqual([]);
});

test('hostile texts are shown as texts', () => {
  const page = renderPage(hostile);
  expect(page).toContain('&lt;script&gt;alert(1)&lt;/script&gt;');
  expect(page.includes('\u0000') || page.includes('\u202e')).toBe(false);
  const tags = (text: string) => [...text.matchAll(/<\/?([a-z0-9]+)/g)].map(([, tag]) => tag);
  // The same elements as with plain texts, except links, which need an address: no text became one.
  const plain = renderPage(sampleReport());
  expect(new Set([...tags(page), 'a'])).toEqual(new Set(tags(plain)));
});

test.each([
  'javascript:alert(1)',
  'data:text/html,x',
  'http://example.com/',
  'https://x/"y',
  '//x',
])('an address that is none of a page is no link: %s', (run) => {
  const page = renderPage(sampleReport({ by: { run, actor: '', sha: '' } }));
  expect(loads(page)).toEqual([]);
  expect(page.slice(0, page.indexOf('<main'))).not.toMatch(/<a href="(?!#)/);
});

describe('the values of the page are those of the report', () => {
  const report = sampleReport();
  const page = renderPage(report);

  test('verdict, worker and memory', () => {
    expect(page).toContain('<p class="word">Not healthy</p>');
    expect(page).toContain('<p id="sentence">1 check failed, 3 passed, 1 warning, 1 unknown.</p>');
    const tiles = page.slice(page.indexOf('<dl class="tiles"'), page.indexOf('</dl>'));
    const { memory } = report.worker;
    for (const size of [memory?.current, memory?.peak, memory?.high, memory?.max]) {
      expect(tiles).toContain(formatBytes(size ?? -1));
    }
    expect(tiles).toContain('celery 0, batch 3, links 11, variations 0');
  });

  test('checks: all, those that need attention first, with evidence and advice', () => {
    const checks = sectionOf(page, 'checks').replace(/<\/?code>/g, '`');
    const found = [...checks.matchAll(/<li data-id="([^"]*)" data-verdict="([^"]*)"/g)];
    expect(found.map(([, id]) => id).toSorted()).toEqual(
      report.checks.map(({ id }) => id).toSorted(),
    );
    expect(found.map(([, , verdict]) => verdict)).toEqual([
      'fail',
      'warn',
      'unknown',
      'pass',
      'pass',
      'pass',
    ]);
    for (const { seen, next, evidence } of report.checks) {
      for (const text of [seen, next, ...evidence]) {
        expect(checks).toContain(text.replaceAll('"', '&quot;'));
      }
    }
  });

  test('latency by queue', () => {
    expect(numbersOf(sectionOf(page, 'latency'))).toEqual(
      report.latency?.flatMap(({ sent, done, median, slowest }) => [done, sent, median, slowest]),
    );
  });

  test('the proof, an entry for each hour', () => {
    const section = sectionOf(page, 'soak');
    const { soak } = report;
    const strip = section.slice(0, section.indexOf('</ol>'));
    const hours = [...strip.matchAll(/<li class="hour (\w+)"/g)].map(([, state]) => state);
    expect(hours.slice(0, 16)).toEqual([
      ...Array(8).fill('good'),
      'part',
      ...Array(6).fill('good'),
      'bad',
    ]);
    expect(new Set(hours.slice(16))).toEqual(new Set(['open']));
    expect(numbersOf(section).slice(0, 3)).toEqual([
      soak?.coveredSeconds,
      soak?.wantedSeconds,
      soak?.gapSeconds,
    ]);
  });

  test('comparison, repairs and releases', () => {
    expect(numbersOf(sectionOf(page, 'comparison'))).toEqual(
      report.comparison?.rows.flatMap(({ before, now }) =>
        [before, now].filter((value) => value !== null),
      ),
    );
    expect(numbersOf(sectionOf(page, 'repairs'))).toEqual([2]);
    const releases = sectionOf(page, 'releases');
    expect(numbersOf(releases)).toEqual(report.releases?.map(({ release }) => release));
    const states = [...releases.matchAll(/<tr data-state="([^"]*)"/g)].map(([, state]) => state);
    expect(states).toEqual(report.releases?.map(({ state }) => state));
  });

  test('the diff of the unit, line by line', () => {
    const lines = [...sectionOf(page, 'unit').matchAll(/<span class="\w+">([^<]*)\n<\/span>/g)];
    expect(lines.map(([, text]) => text).join('\n')).toBe(report.unitDiff?.text);
  });
});

describe('what is not known', () => {
  const page = renderPage(empty);

  test.each([
    'memory',
    'queues',
    'latency',
    'soak',
    'checks',
    'comparison',
    'unit',
    'repairs',
    'releases',
  ])('is named as such: %s', (id) => {
    expect(sectionOf(page, id)).toContain('<strong>Not known:</strong>');
  });

  test('has no number', () => {
    expect(numbersOf(page)).toEqual([]);
    expect(page.match(/NaN|undefined|null|Infinity/g)).toBeNull();
  });
});

test('what needs attention comes first', () => {
  const first = (conclusion: 'healthy' | 'unhealthy' | 'inconclusive') =>
    /<section aria-labelledby="(\w+)"/.exec(
      renderPage(sampleReport({ verdict: { conclusion, sentence: '' } })),
    )?.[1];
  expect([first('healthy'), first('unhealthy'), first('inconclusive')]).toEqual([
    'memory',
    'checks',
    'checks',
  ]);
});

test('an unhealthy worker is named so in the title', () => {
  const titles = (['healthy', 'unhealthy', 'inconclusive'] as const).map(
    (conclusion) =>
      /<title>([^<]*)</.exec(
        renderPage(sampleReport({ verdict: { conclusion, sentence: '' } })),
      )?.[1],
  );
  expect(titles).toEqual([
    'Healthy: celery-worker.service on vps.example.com',
    'Not healthy: celery-worker.service on vps.example.com',
    'Inconclusive: celery-worker.service on vps.example.com',
  ]);
});

test('eight days and very long texts make a page that a browser can show', () => {
  const check = sampleReport().checks[2];
  if (check === undefined) throw new Error('no check');
  const queues = Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`queue-${n}`, n]));
  const worker = { queues, active: 1, processed: 1 };
  const samples = daySamples(8 * 1440).map((sample) => ({ ...sample, worker }));
  const page = renderPage(
    sampleReport({
      timeline: timelineOf(samples),
      checks: Array.from({ length: 200 }, (_, n) => ({
        ...check,
        id: `c${n}`,
        title: 'x'.repeat(500),
      })),
    }),
  );
  expect(page.length).toBeLessThan(4 * MiB);
  expect(page.match(/NaN|undefined|Infinity/g)).toBeNull();
});

test.each([0, 1e12, 1e20, -1e20, Number.MAX_VALUE])('a host with a wrong clock: %d', (at) => {
  const moment = epochSeconds(at);
  const page = renderPage(
    sampleReport({
      at: moment,
      timeline: timelineOf([sampleAt(0, { at: moment })]),
      releases: (sampleReport().releases ?? []).map((each) => ({ ...each, at: moment })),
      marks: [{ at: moment, kind: 'deploy', text: 'x' }],
    }),
  );
  expect(page.endsWith('</html>\n')).toBe(true);
  expect(page.match(/NaN|Invalid/g)).toBeNull();
});

test('durations and sizes are those that people read elsewhere', () => {
  const page = renderPage(sampleReport());
  expect(page).toContain(formatDuration(56_400));
  expect(page).toContain(formatBytes(bytes(781 * MiB)));
});
