import { formatBytes, formatDuration } from '../model/quantities.ts';
import type { Report, ReportMark, ReportTimeline } from '../model/report.ts';
import { MiB } from '../model/units.ts';
import { afterDeploy, coarsen, farLimit } from './timeline.ts';

/*
 * Charts as GitHub draws them in Markdown. Its diagrams have no escapes: a text keeps only signs
 * that mean nothing there.
 */

/** More labels than these cover each other: `02:00`, and `01-18 02:00`. */
const mostPoints = { day: 12, days: 7 };
/** Of the memory, MemoryMax and MemoryHigh; readable on a light and on a dark page. */
const colours = { memory: '#3b82f6', max: '#dc2626', high: '#b7791f' };
/** Without samples, what happened longer ago is not shown, in seconds. */
const week = 7 * 86_400;
/** More lines than these are no overview. */
const mostMarks = 30;

/** Memory over time, with its limits; `''`: there is no time to show. */
export function memoryMermaid(all: ReportTimeline): string {
  const days = all.to - all.from > 86_400;
  const timeline = coarsen(all, days ? mostPoints.days : mostPoints.day);
  const buckets = timeline.buckets.filter(({ memory }) => memory !== null);
  if (buckets.length < 2) return '';
  const label = (at: number): string => {
    const text = new Date(at * 1000).toISOString();
    return days ? `${text.slice(5, 10)} ${text.slice(11, 16)}` : text.slice(11, 16);
  };
  const highest = Math.max(...buckets.map(({ memory }) => memory?.max ?? 0));
  const limits = (['max', 'high'] as const).flatMap((kind) => {
    const values = buckets.map((bucket) => bucket[kind]);
    const known = values.filter((value) => value !== null);
    const last = known.at(-1);
    if (known.length < values.length || last === undefined) return [];
    if (Math.max(...known) > highest * farLimit) return [];
    const name = kind === 'max' ? 'MemoryMax' : 'MemoryHigh';
    return [{ name, values: known, last, colour: colours[kind] }];
  });
  const top = Math.max(highest, ...limits.flatMap(({ values }) => values)) * 1.1;
  const palette = [colours.memory, ...limits.map(({ colour }) => colour)].join(', ');
  const missing = Math.floor((timeline.to - timeline.from) / timeline.bucketSeconds) + 1;
  const line = (values: readonly number[]): string => `  line [${values.map(inMiB).join(', ')}]`;
  const words = [
    `The highest of each ${formatDuration(timeline.bucketSeconds)}, in MiB, UTC.`,
    ...limits.map(({ name, last }) => `The flat line at ${formatBytes(last)} is ${name}.`),
    ...(missing > buckets.length ? ['Times without samples are left out.'] : []),
  ];
  return [
    '```mermaid',
    `%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "${palette}"}}}}%%`,
    'xychart-beta',
    '  title "Memory of the worker"',
    `  x-axis [${buckets.map(({ at }) => `"${label(at)}"`).join(', ')}]`,
    `  y-axis "MiB" 0 --> ${Math.ceil(top / MiB)}`,
    line(buckets.map(({ memory }) => memory?.max ?? 0)),
    ...limits.map(({ values }) => line(values)),
    '```',
    '',
    words.join(' '),
  ].join('\n');
}

const inMiB = (size: number): number => Math.round((size / MiB) * 10) / 10;

const sections: Readonly<Record<ReportMark['kind'], string>> = {
  deploy: 'deployed',
  undo: 'rolled back',
  repair: 'repaired',
  job: 'probes',
  restart: 'restarted',
  reboot: 'rebooted',
  oom: 'out of memory',
};

/** What happened in the time of the samples, one row for each kind; `''`: nothing. */
export function marksMermaid({
  marks,
  timeline,
  at: now,
}: Pick<Report, 'marks' | 'timeline' | 'at'>): string {
  const from = timeline === null ? now - week : timeline.from - afterDeploy;
  const shown = marks
    .filter(({ at }) => at >= from && !Number.isNaN(new Date(at * 1000).getTime()))
    .slice(-mostMarks);
  if (shown.length < 2) return '';
  const kinds = Map.groupBy(shown, ({ kind }) => kind);
  return [
    '```mermaid',
    'gantt',
    '  title What happened, UTC',
    '  dateFormat YYYY-MM-DDTHH:mm:ss',
    '  axisFormat %d %b %H:%M',
    ...[...kinds].flatMap(([kind, all]) => [
      `  section ${sections[kind]}`,
      ...all.map(({ at, text }) => {
        const moment = new Date(at * 1000).toISOString().slice(0, 19);
        return `  ${plain(text)} :milestone, ${moment}, 0d`;
      }),
    ]),
    '```',
  ].join('\n');
}

/** A text without signs that end it, or that begin a directive. */
function plain(text: string): string {
  const kept = text.replace(/[^\p{L}\p{N} .,()'/_+-]/gu, ' ').replace(/\s+/g, ' ');
  return kept.trim().slice(0, 60) || 'event';
}
