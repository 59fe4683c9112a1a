import { formatBytes, formatCount, formatDuration, formatInstant } from '../../model/quantities.ts';
import type { Report, ReportBucket, ReportMark, ReportTimeline } from '../../model/report.ts';
import { MiB } from '../../model/units.ts';
import { coarsen, farLimit } from '../timeline.ts';
import { drawChart, glyph, type Level, marksIn } from './chart.ts';
import { type Html, html, none } from './html.ts';
import { bytesValue, countValue, instantValue, scrolling, unknown } from './values.ts';

/** Series that can be told apart in one chart. */
const shownQueues = 6;
/** A day as half hours, eight days as four: the JSON has every value. */
const tableRows = 48;

/** Memory over time, with its limits. */
export function memoryChart({ timeline, marks }: Report): Html {
  const buckets = timeline?.buckets ?? [];
  if (timeline === null || !buckets.some(({ memory }) => memory !== null)) {
    return unknown('the host has recorded no memory samples yet');
  }
  const highest = Math.max(...buckets.map(({ memory }) => memory?.max ?? 0));
  const limits = buckets.flatMap(({ high, max }) => [high ?? 0, max ?? 0]);
  const limit = Math.max(...limits);
  const isFar = limit > highest * farLimit;
  const top = Math.max(MiB, isFar ? highest * 1.25 : Math.max(highest, limit) * 1.08);
  const level = (kind: 'high' | 'max', name: string): Level | null => {
    const points = buckets.map((bucket) => ({ at: bucket.at, value: bucket[kind] }));
    const last = points.findLast(({ value }) => value !== null)?.value ?? null;
    if (last === null || last > top) return null;
    const label = kind === 'high' ? 'below' : 'above';
    return { name: `${name} ${formatBytes(last)}`, kind, points, label };
  };
  const levels = [level('high', 'MemoryHigh'), level('max', 'MemoryMax')];
  const span = formatDuration(timeline.to - timeline.from);
  const chart = drawChart({
    id: 'memory',
    title: 'Memory of the worker over time',
    description: `The highest was ${formatBytes(highest)} in ${span}. The table below has the values.`,
    from: timeline.from,
    to: timeline.to,
    step: timeline.bucketSeconds,
    top,
    tickUnit: top < 4096 * MiB ? MiB : 1024 * MiB,
    isCount: false,
    formatValue: formatBytes,
    series: [
      {
        name: 'memory of the unit',
        style: 0,
        filled: true,
        points: buckets.map(({ at, memory }) => ({ at, value: memory })),
      },
    ],
    levels: levels.filter((each) => each !== null),
    marks,
  });
  const far = isFar
    ? html`<p class="note">MemoryMax, ${formatBytes(limit)}, is above this chart.</p>`
    : none;
  return html`${chart}${legendOfMarks(marks, timeline)}${far}${memoryTable(timeline)}`;
}

function memoryTable(all: ReportTimeline): Html {
  const timeline = coarsen(all, tableRows);
  const row = (
    bucket: ReportBucket,
  ): Html => html`<tr><th scope="row">${instantValue(bucket.at)}</th>
<td>${bytesValue(bucket.memory?.min ?? null)}</td><td>${bytesValue(bucket.memory?.max ?? null)}</td>
<td>${bytesValue(bucket.main)}</td><td>${bytesValue(bucket.children)}</td><td>${bytesValue(bucket.swap)}</td>
<td>${bytesValue(bucket.high)}</td><td>${bytesValue(bucket.max)}</td>
<td>${countValue(bucket.errors)}</td><td>${countValue(bucket.rateLimited)}</td><td>${countValue(bucket.oomKills)}</td></tr>
`;
  return html`<details class="data"><summary>This chart as a table, one row per ${formatDuration(timeline.bucketSeconds)}</summary>
${scrolling(
  'Memory over time',
  html`<table id="memory-table"><thead><tr><th scope="col">from</th><th scope="col">lowest</th><th scope="col">highest</th><th scope="col">main</th><th scope="col">children</th><th scope="col">swap</th><th scope="col">MemoryHigh</th><th scope="col">MemoryMax</th><th scope="col">errors</th><th scope="col">429</th><th scope="col">OOM kills</th></tr></thead>
<tbody>${timeline.buckets.map(row)}</tbody></table>`,
)}</details>`;
}

/** Lengths of the queues over time. */
export function queueChart({ timeline, marks }: Report): Html {
  const buckets = timeline?.buckets ?? [];
  const names = [...new Set(buckets.flatMap(({ queues }) => Object.keys(queues ?? {})))];
  if (timeline === null || names.length === 0) {
    return unknown('no worker has reported the lengths of its queues yet');
  }
  const shown = names.slice(0, shownQueues);
  const highest = Math.max(
    ...buckets.flatMap(({ queues }) => shown.map((name) => queues?.[name]?.max ?? 0)),
  );
  const chart = drawChart({
    id: 'queues',
    title: 'Waiting messages, by queue',
    description: `At most ${formatCount(highest, 'message')} waited in ${formatCount(names.length, 'queue')}. The table below has the values.`,
    from: timeline.from,
    to: timeline.to,
    step: timeline.bucketSeconds,
    top: Math.max(5, highest * 1.1),
    tickUnit: 1,
    isCount: true,
    formatValue: String,
    series: shown.map((name, style) => ({
      name,
      style,
      filled: false,
      points: buckets.map(({ at, queues }) => ({ at, value: queues?.[name] ?? null })),
    })),
    levels: [],
    marks,
  });
  const more =
    names.length > shown.length
      ? html`<p class="note">The ${shown.length} longest of ${names.length} queues; the table has all.</p>`
      : none;
  return html`${chart}<ul class="legend">${shown.map(
    (name, style) =>
      html`<li><svg class="key series s${style}" viewBox="0 0 28 10" aria-hidden="true"><path class="line" d="M0 5H28"/></svg>${name}</li>`,
  )}</ul>${more}${queueTable(timeline, names)}`;
}

function queueTable(all: ReportTimeline, names: readonly string[]): Html {
  const timeline = coarsen(all, tableRows);
  return html`<details class="data"><summary>This chart as a table: the maximum of waiting messages, one row per ${formatDuration(timeline.bucketSeconds)}</summary>
${scrolling(
  'Lengths of the queues over time',
  html`<table id="queue-table"><thead><tr><th scope="col">from</th>${names.map((name) => html`<th scope="col">${name}</th>`)}<th scope="col">tasks at work</th></tr></thead>
<tbody>${timeline.buckets.map(
    ({ at, queues, active }) =>
      html`<tr><th scope="row">${instantValue(at)}</th>${names.map((name) => html`<td>${countValue(queues?.[name]?.max ?? null)}</td>`)}<td>${countValue(active)}</td></tr>
`,
  )}</tbody></table>`,
)}</details>`;
}

const kinds: Readonly<Record<ReportMark['kind'], string>> = {
  deploy: 'deploy',
  undo: 'roll-back',
  repair: 'jobs repaired',
  job: 'probes',
  restart: 'worker restarted',
  reboot: 'host restarted',
  oom: 'killed: out of memory',
};

/** The kinds of marks in the time of the chart, and each of them as text. */
function legendOfMarks(marks: readonly ReportMark[], timeline: ReportTimeline): Html {
  const end = timeline.to + timeline.bucketSeconds;
  const shown = marksIn(marks, timeline.from, end);
  if (shown.length === 0) return none;
  const seen = [...new Set(shown.map(({ kind }) => kind))];
  return html`<ul class="legend">${seen.map(
    (kind) =>
      html`<li><svg class="key mark ${kind}" viewBox="0 0 14 14" aria-hidden="true"><path class="glyph" d="${glyph(kind, 7, 7)}"/></svg>${kinds[kind]}</li>`,
  )}</ul>
<details class="data"><summary>${formatCount(shown.length, 'mark')} as a list</summary><ul id="marks">${shown.map(
    ({ at, kind, text }) => html`<li>${formatInstant(at)}: ${kinds[kind]}: ${text}</li>`,
  )}</ul></details>`;
}
