import { describe, expect, test } from 'vitest';
import type { ProbePlace, ProbesProgress } from '../../../src/model/outcome.ts';
import { seconds } from '../../../src/model/units.ts';
import { isNews } from '../../../src/report/probe-progress.ts';
import { renderProgress } from '../../../src/report/progress.ts';

const told = (
  after: number,
  ...probes: readonly (readonly [place: ProbePlace, where: string, detail?: string])[]
): ProbesProgress => ({
  seconds: seconds(after),
  probes: probes.map(([place, where, detail = '']) => ({ place, where, detail })),
});

describe('where probes stand', () => {
  test.each([
    [told(3.1, ['queued', 'links']), '0 of 1 probe done; queued: links (after 3 s)'],
    [
      told(
        71,
        ['queued', 'celery'],
        ['done', 'batch'],
        ['queued', 'celery'],
        ['active', 'links'],
        ['reserved', 'variations'],
      ),
      '1 of 5 probes done; running: links; received: variations; queued: celery (2) (after 1 min 11 s)',
    ],
    [
      told(9, ['lost', 'a'], ['failed', 'b'], ['unknown', 'c']),
      '0 of 3 probes done; failed: b; lost: a; waiting: c (after 9 s)',
    ],
    [
      told(4, ['unknown', 'POST http://127.0.0.1/api/batch', 'status processing']),
      '0 of 1 probe done; waiting: POST http://127.0.0.1/api/batch (status processing) (after 4 s)',
    ],
  ])('%# is one line', (progress, line) => {
    expect(renderProgress({ kind: 'probes', ...progress })).toBe(`  ${line}`);
  });
});

describe('a log gets a line', () => {
  const first = told(3, ['queued', 'links']);
  test('at first, and when a probe gets on', () => {
    expect(isNews(first, null)).toBe(true);
    expect(isNews(told(9, ['active', 'links']), first)).toBe(true);
  });

  test('rarely if nothing changes', () => {
    expect(isNews(told(32, ['queued', 'links']), first)).toBe(false);
    expect(isNews(told(33, ['queued', 'links']), first)).toBe(true);
  });

  test('for the next request of the gate', () => {
    expect(isNews(told(3, ['queued', 'links']), told(9, ['queued', 'links']))).toBe(true);
  });
});
