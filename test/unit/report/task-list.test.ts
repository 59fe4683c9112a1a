import { describe, expect, test } from 'vitest';
import type { Report } from '../../../src/model/report.ts';
import { seconds } from '../../../src/model/units.ts';
import type { Check } from '../../../src/model/verdict.ts';
import { renderChecklistMarkdown } from '../../../src/report/checklist.ts';
import { taskListOf } from '../../../src/report/task-list.ts';
import { checkModules } from '../../../src/verify/checks.ts';
import { emptyReport, hostileReport, sampleReport } from '../../lib/sample-report.ts';

const check = (id: string, verdict: Check['verdict'], seen = ''): Check => ({
  id,
  title: id,
  verdict,
  seen,
  expected: verdict === 'fail' ? 'none' : '',
  evidence: [],
  next: '',
});

const healthy: Report = sampleReport({
  checks: checkModules.map(({ id }) => check(id, 'pass')),
  soak: { ...(sampleReport().soak as NonNullable<Report['soak']>), state: 'proven' },
});

const ticksOf = (report: Report): string =>
  taskListOf(report)
    .map(({ done }) => (done ? 'x' : ' '))
    .join('');

test('a worker that is well, and proven, has every tick, in the order of the list', () => {
  const items = taskListOf(healthy);
  expect(items.map(({ text }) => text.split(' ')[0])).toEqual(
    Array.from({ length: 10 }, (_, index) => `6.${index + 1}`),
  );
  expect(ticksOf(healthy)).toBe('xxxxxxxxxx');
  expect(renderChecklistMarkdown(items).split('\n')[2]).toBe(
    '- [x] 6.3 a single probe sent: 1 to celery',
  );
});

test('a report of nothing has no tick', () => {
  expect(ticksOf(emptyReport())).toBe('          ');
});

describe('each check takes the tick of its item only', () => {
  test.each([
    ['memory', 'fail', ' xxxxxxxxx'],
    ['strays', 'fail', 'x xxxxxxxx'],
    ['errors', 'fail', 'xxx xxxxxx'],
    ['rate-limits', 'fail', 'xxxx xxxxx'],
    ['gate-job', 'fail', 'xxxxx xxxx'],
    ['gate-peak', 'fail', 'xxxxxx xxx'],
    ['gate-batch', 'fail', 'xxxxxxxx x'],
    ['oom', 'unknown', 'xxxxxxxx x'],
    ['errors', 'warn', 'xxxxxxxxxx'],
    ['swap', 'fail', 'xxxxxxxxxx'],
  ] as const)('%s: %s', (id, verdict, ticks) => {
    const checks = healthy.checks.map((each) => (each.id === id ? check(id, verdict) : each));
    expect(ticksOf({ ...healthy, checks })).toBe(ticks);
  });
});

test('every check that an item names exists', () => {
  const known = new Set(checkModules.map(({ id }) => id));
  // Without its checks, an item is not checked: each of the ten must depend on known ones.
  const without = taskListOf({ ...healthy, checks: [] });
  expect(without.filter(({ note }) => note === 'not checked')).toHaveLength(7);
  expect(known).toContain('gate-errors');
});

test('probes that were not sent are not ticked', () => {
  const probes = [{ where: 'celery', state: 'not-sent', detail: '', seconds: null }] as const;
  const items = taskListOf({ ...healthy, probes });
  expect([items[2], items[7]].map((item) => [item?.done, item?.note])).toEqual([
    [false, 'not sent'],
    [false, 'not sent'],
  ]);
});

test('the hours say how far they are', () => {
  const soak = { ...(healthy.soak as NonNullable<Report['soak']>), state: 'unproven' } as const;
  expect(taskListOf({ ...healthy, soak }).at(-1)).toEqual({
    done: false,
    note: 'unproven',
    text: '6.10 hours without failure: 15 h 40 min of 24 h',
  });
  const short = { ...soak, wantedSeconds: seconds(1200) };
  expect(taskListOf({ ...healthy, soak: short }).at(-1)?.text).toContain('of 0.3 h');
});

test('without samples, the ledger says whether the release is proven', () => {
  const [first, ...rest] = healthy.releases ?? [];
  if (first === undefined) throw new Error('no release');
  const proven = {
    ...healthy,
    soak: null,
    releases: [{ ...first, state: 'proven' as const }, ...rest],
  };
  expect(taskListOf(proven).at(-1)?.done).toBe(true);
  expect(taskListOf({ ...proven, releases: [first, ...rest] }).at(-1)?.note).toBe('unproven');
  expect(taskListOf({ ...proven, releases: null }).at(-1)?.note).toBe('not known');
});

test('hostile texts stay on their line', () => {
  expect(renderChecklistMarkdown(taskListOf(hostileReport())).split('\n')).toHaveLength(10);
});
