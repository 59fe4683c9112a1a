import { formatBytes, formatCount, formatDuration, formatInstant } from '../model/quantities.ts';
import type { Report, ReportRelease, ReportTimeline } from '../model/report.ts';
import type { Check, CheckVerdict } from '../model/verdict.ts';
import { toOneLine } from './escape.ts';
import { releaseStates } from './release-words.ts';
import { renderStrip } from './soak-view.ts';
import { coarsen } from './timeline.ts';

/** Columns of the drawing of the memory. */
const columns = 60;
const signs: Readonly<Record<CheckVerdict, string>> = {
  fail: '✗',
  warn: '!',
  unknown: '?',
  pass: '✓',
};

/** The report for a terminal, about a screen of it; the page has all. */
export function renderStatus(report: Report): string {
  const { unit, host, at, verdict, worker, soak } = report;
  const rows = [
    ['worker', describeWorker(report)],
    ['memory', describeMemory(worker)],
    ...memoryLines(report.timeline),
    ['queues', describeQueues(worker)],
    ['release', describePresent(report.releases)],
    ...(soak === null
      ? unsoaked(report.releases)
      : [
          ['proof', soak.sentence],
          ...(soak.hours.length === 0 ? [] : [['', renderStrip(soak.hours)]]),
        ]),
  ] as const;
  return [
    `${unit} on ${host}, ${formatInstant(at)}`,
    verdict.sentence,
    '',
    ...rows.map(([name, text]) => `${name.padEnd(9)}${toOneLine(text)}`),
    '',
    ...checkLines(report.checks),
    '',
  ].join('\n');
}

function describeWorker({ worker, at }: Report): string {
  const { activeState, subState, since, processes, restarts } = worker;
  return [
    `${activeState} (${subState})`,
    ...(since === null ? [] : [`for ${formatDuration(at - since)}`]),
    formatCount(processes, 'process', 'processes'),
    ...(restarts === null ? [] : [formatCount(restarts, 'restart')]),
  ].join(', ');
}

function describeMemory({ memory }: Report['worker']): string {
  if (memory === null) return 'not known';
  const { current, peak, high, max } = memory;
  const limits = Object.entries({ peak, MemoryHigh: high, MemoryMax: max });
  return [
    formatBytes(current),
    ...limits.flatMap(([name, size]) => (size === null ? [] : [`${name} ${formatBytes(size)}`])),
  ].join(', ');
}

/** `▁▂▅█` from zero to the highest; a gap is blank. */
function memoryLines(all: ReportTimeline | null): readonly (readonly [string, string])[] {
  if (all === null) return [];
  const { from, to, bucketSeconds, buckets } = coarsen(all, columns);
  const highest = Math.max(0, ...buckets.map(({ memory }) => memory?.max ?? 0));
  if (highest === 0) return [];
  const steps = '▁▂▃▄▅▆▇█';
  const width = Math.floor((to - from) / bucketSeconds) + 1;
  const drawn = Array.from({ length: width }, (_, column) => {
    const bucket = buckets.find(({ at }) => Math.round((at - from) / bucketSeconds) === column);
    const size = bucket?.memory?.max;
    if (size === undefined) return '·';
    return steps[Math.min(steps.length - 1, Math.floor((size / highest) * steps.length))] ?? '';
  });
  const span = `${formatDuration(to - from)}, at most ${formatBytes(highest)}`;
  return [['', `${drawn.join('')}  ${span}`]];
}

function describeQueues({ queues }: Report['worker']): string {
  if (queues === null) return 'not known';
  const all = Object.entries(queues).map(([name, length]) => `${name} ${length}`);
  return all.length === 0 ? 'none' : all.join(', ');
}

const presentOf = (releases: Report['releases']): ReportRelease | undefined =>
  releases?.find(({ state }) => state !== 'undone');

/** Whether a release waits for `verify`. */
export const isAwaited = (releases: Report['releases']): boolean =>
  releases?.some(({ state }) => state === 'awaiting') ?? false;

function unsoaked(releases: Report['releases']): readonly (readonly [string, string])[] {
  const text =
    'none: the release stays unproven, as no samples are taken of it or `soak-hours` is 0';
  return presentOf(releases)?.state === 'unproven' ? [['proof', text]] : [];
}

function describePresent(releases: Report['releases']): string {
  if (releases === null) return 'not known';
  const present = presentOf(releases);
  return present === undefined ? 'none of Celeriac' : describeRelease(present);
}

/** `7 (3f2c9e1b7a6d), 2026-01-18 02:00:00 UTC by nika, proven since …: why`. */
function describeRelease(one: ReportRelease): string {
  const { release, at, actor, sha, state, since, confirmBy, why } = one;
  const commit = sha === '' ? '' : ` (${sha.slice(0, 12)})`;
  const who = actor === '' ? '' : ` by ${actor}`;
  const when = since === null || state === 'before' ? '' : ` since ${formatInstant(since)}`;
  const until =
    confirmBy === undefined
      ? ''
      : `, rolled back by the host at ${formatInstant(confirmBy)} unless \`verify\` confirms it`;
  const reason = why === '' ? '' : `: ${why}`;
  return `${release}${commit}, ${formatInstant(at)}${who}, ${releaseStates[state]}${when}${until}${reason}`;
}

/** `celeriac releases`: newest first. */
export const renderReleases = (releases: readonly ReportRelease[]): string =>
  releases.length === 0
    ? 'none: Celeriac has not deployed this worker\n'
    : releases.map((each) => `${toOneLine(describeRelease(each))}\n`).join('');

/** What needs attention with its advice; of what passed, the names. */
function checkLines(checks: readonly Check[]): readonly string[] {
  const open = (['fail', 'unknown', 'warn'] as const).flatMap((verdict) =>
    checks.filter((check) => check.verdict === verdict),
  );
  const passed = checks.filter(({ verdict }) => verdict === 'pass').map(({ id }) => id);
  return [
    ...open.flatMap(({ title, verdict, seen, expected, next }) => {
      const wanted = expected === '' ? '' : ` (expected ${expected})`;
      return [
        toOneLine(`${signs[verdict]} ${title}: ${seen}${wanted}`),
        ...(next === '' ? [] : [`    next: ${toOneLine(next)}`]),
      ];
    }),
    ...(passed.length === 0 ? [] : [`${signs.pass} ${passed.length} passed: ${passed.join(', ')}`]),
  ];
}
