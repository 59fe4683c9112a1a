import { describe, expect, it } from 'vitest';
import { bytes, epochSeconds, MiB, seconds } from '../../../src/model/units.ts';
import {
  describeSoakState,
  detailsOfSoak,
  formatFigure,
  renderSoakText,
  renderStrip,
  soakChecklist,
  tableOfComparison,
} from '../../../src/report/soak-view.ts';
import { judgeSoak } from '../../../src/verify/soak/judge.ts';
import { release } from '../use-case/simulated-soak.ts';
import { begin, disk, limits, minutes } from '../verify/soak/samples.ts';

const full = { disk: [{ ...disk, free: bytes(1) }] };
const samples = [
  ...minutes(0, 200, (minute) => (minute === 30 ? full : {})),
  ...minutes(260, 400, () => ({ worker: null })),
];
const verdict = judgeSoak(
  { release: 3, since: begin, samples, transactions: [], now: epochSeconds(begin + 400 * 60) },
  { ...limits, failureLimit: 3 },
);

const report = {
  version: 1,
  unit: 'celery-worker.service',
  state: 'unproven',
  sentence: '',
  release: null,
  verdict,
  comparison: {
    release: 3,
    rows: [
      { title: 'HTTP 429', unit: 'per-hour', before: 100, now: 10, trend: 'better' },
      { title: 'Restarts by systemd', unit: 'count', before: null, now: 0, trend: null },
    ],
    notKnown: 'Unknown for this release: the oldest stuck job, because `database` is not given.',
  },
  rolledBackTo: null,
  by: 'run 9',
} as const;

it('the hours are one sign each', () => {
  expect(renderStrip(verdict.hours)).toBe('!##~~##');
  const hour = { at: begin, failingMinutes: 0 };
  expect(renderStrip([{ ...hour, coveredSeconds: seconds(0), gapSeconds: seconds(3600) }])).toBe(
    '.',
  );
});

it('what is allowed, failed or not known is said', () => {
  const lines = soakChecklist(report).map(({ done, text, note }) => `${done} ${text} (${note})`);
  expect(lines).toContainEqual(expect.stringMatching(/^true Disk space: 1 fault .*\(allowed\)$/));
  expect(lines).toContainEqual(expect.stringMatching(/^false Queues drain: .*\(not known\)$/));
  expect(soakChecklist({ verdict: null })).toEqual([]);
});

it('gaps and failing minutes are listed, what is empty is not', () => {
  expect(detailsOfSoak(report).map(({ title }) => title)).toEqual([
    'Failing minutes',
    'Gaps',
    'Remarks',
  ]);
  expect(detailsOfSoak(report)[2]?.text).toBe(report.comparison.notKnown);
  expect(detailsOfSoak(report)[1]?.text).toBe('2026-01-18 14:20:00 UTC  1 h: no samples');
  expect(detailsOfSoak({ verdict: null, comparison: null })).toEqual([]);
});

it('the text has all of it', () => {
  const text = renderSoakText(report).join('\n');
  expect(text).toMatch(
    /^hours {2}!##~~##\nend {4}2026-01-19 .* UTC, if nothing fails\n- \[x\] Unit active/,
  );
  expect(text).toContain('HTTP 429: 100 an hour → 10 an hour (better)');
  expect(text).toMatch(/Restarts by systemd: not known → 0$/);
});

it('a table compares with the last proven release', () => {
  expect(tableOfComparison(report)?.rows).toEqual([
    ['HTTP 429', '100 an hour', '10 an hour', 'better'],
    ['Restarts by systemd', 'not known', '0', ''],
  ]);
  expect(tableOfComparison({ comparison: null })).toBeNull();
  expect([formatFigure(300 * MiB, 'bytes'), formatFigure(90, 'seconds')]).toEqual([
    '300 MiB',
    '1 min 30 s',
  ]);
});

describe('the sentence', () => {
  const scene = { release: release(3), sampling: true, verdict };
  it.each([
    ['awaiting', scene, true, /^Release 3 has been awaiting its verdict since 2026-/],
    ['superseded', scene, true, /run this again/],
    ['unproven', scene, true, /^Release 3: Unproven: 5.6 h of 24 h, gaps of 1 h; more than 5 %/],
    ['unproven', scene, false, /`soak-hours` is 0/],
    ['unproven', { ...scene, sampling: false }, true, /the host takes no samples/],
    [
      'proven',
      { ...scene, verdict: null, release: release(3, { soakWhy: 'Proven: 24 h.', by: 'run 2' }) },
      true,
      /^Release 3 is proven since .* \(run 2\): Proven: 24 h\.$/,
    ],
    ['none', { ...scene, release: null }, true, /no release of Celeriac is running/],
  ] as const)('of a release that is %s', (state, about, isWanted, sentence) => {
    expect(describeSoakState(state, about, isWanted)).toMatch(sentence);
  });
});
