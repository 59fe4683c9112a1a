import { scaleLinear, scaleUtc } from 'd3-scale';
import { area, curveStepAfter, line } from 'd3-shape';
import { formatInstant } from '../../model/quantities.ts';
import type { ReportMark, ReportRange } from '../../model/report.ts';
import { afterDeploy } from '../timeline.ts';
import { type Html, html, none } from './html.ts';

/** A value at a time; `null`: not known, the line has a gap. */
export interface Point {
  /** Seconds since 1970. */
  readonly at: number;
  readonly value: ReportRange | null;
}

export interface Series {
  readonly name: string;
  /** `0` to `5`: its colour and its pattern of dashes. */
  readonly style: number;
  readonly points: readonly Point[];
  /** Fill what is below it. */
  readonly filled: boolean;
}

/** A level that must not be reached, over time. */
export interface Level {
  readonly name: string;
  readonly kind: 'high' | 'max';
  readonly points: readonly { readonly at: number; readonly value: number | null }[];
  /** Where its name stands. */
  readonly label: 'above' | 'below';
}

export interface Chart {
  readonly id: string;
  readonly title: string;
  /** What a screen reader reads instead of the drawing. */
  readonly description: string;
  readonly from: number;
  readonly to: number;
  /** Length of the time that one point stands for, in seconds. */
  readonly step: number;
  /** The highest value of the axis. */
  readonly top: number;
  /** What the axis counts in, so that its numbers are round: 1 MiB, 1 message. */
  readonly tickUnit: number;
  /** Whole numbers only. */
  readonly isCount: boolean;
  readonly formatValue: (value: number) => string;
  readonly series: readonly Series[];
  readonly levels: readonly Level[];
  readonly marks: readonly ReportMark[];
}

/** Text in a drawing shrinks with it: a narrow screen gets a drawing of its own. */
const sizes = {
  wide: { width: 920, height: 300, left: 72, ticks: 8 },
  narrow: { width: 358, height: 260, left: 62, ticks: 4 },
} as const;
type Size = keyof typeof sizes;

const margin = { top: 30, right: 12, bottom: 28 };

/** The drawing, for wide and for narrow screens. */
export function drawChart(chart: Chart): Html {
  return html`${draw(chart, 'wide')}${draw(chart, 'narrow')}`;
}

function draw(chart: Chart, size: Size): Html {
  const { width, height, left, ticks } = sizes[size];
  const right = width - margin.right;
  const bottom = height - margin.bottom;
  const end = Math.max(chart.to, chart.from + chart.step);
  const x = scaleUtc([new Date(chart.from * 1000), new Date(end * 1000)], [left, right]);
  const y = scaleLinear([0, chart.top], [bottom, margin.top]);
  const across = (at: number): number => round(x(new Date(at * 1000)));
  const up = (value: number): number => round(y(value));
  const times = spread(x.ticks(ticks), (time) => x(time));
  const values = scaleLinear([0, chart.top / chart.tickUnit], [0, 1])
    .ticks(5)
    .map((value) => value * chart.tickUnit)
    .filter((value) => !chart.isCount || Number.isInteger(value));
  const id = `${chart.id}-${size}`;
  const place: Place = { across, up, left, right, bottom, step: chart.step };
  return html`<svg class="chart ${size}" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="${id}-t ${id}-d">
<title id="${id}-t">${chart.title}</title><desc id="${id}-d">${chart.description}</desc>
<g class="grid">${values.map(
    (value) =>
      html`<path d="M${left} ${up(value)}H${right}"/><text x="${left - 6}" y="${up(value) + 4}" class="end">${chart.formatValue(value)}</text>`,
  )}</g>
<g class="grid">${times.map((time) => {
    const at = round(x(time));
    return html`<path d="M${at} ${bottom}v4"/><text x="${at}" y="${bottom + 18}" class="${anchor(at, left, right)}">${formatTick(time)}</text>`;
  })}</g>
${chart.series.map((series) => drawSeries(series, place))}
${chart.levels.map((level) => drawLevel(level, place))}
${drawMarks(chart.marks, place, chart)}
<path class="axis" d="M${left} ${margin.top}V${bottom}H${right}"/>
</svg>`;
}

interface Place {
  readonly across: (at: number) => number;
  readonly up: (value: number) => number;
  readonly left: number;
  readonly right: number;
  readonly bottom: number;
  readonly step: number;
}

function drawSeries({ name, style, points, filled }: Series, place: Place): Html {
  const { across, up, bottom, step } = place;
  const whole = withGaps(points, step);
  const known = ({ value }: Point): boolean => value !== null;
  const highest = line<Point>(
    ({ at }) => across(at),
    ({ value }) => up(value?.max ?? 0),
  ).defined(known)(whole);
  const range = area<Point>(
    ({ at }) => across(at),
    ({ value }) => up(value?.min ?? 0),
    ({ value }) => up(value?.max ?? 0),
  ).defined(known)(whole);
  const below = area<Point>(
    ({ at }) => across(at),
    bottom,
    ({ value }) => up(value?.max ?? 0),
  ).defined(known)(whole);
  // A point between two gaps has no line.
  const alone = whole.filter(
    (point, index) =>
      known(point) &&
      (whole[index - 1]?.value ?? null) === null &&
      (whole[index + 1]?.value ?? null) === null,
  );
  return html`<g class="series s${style}"><title>${name}</title>${
    filled ? html`<path class="below" d="${below ?? ''}"/>` : none
  }<path class="range" d="${range ?? ''}"/><path class="line" d="${highest ?? ''}"/>${alone.map(
    ({ at, value }) => html`<circle cx="${across(at)}" cy="${up(value?.max ?? 0)}" r="2.5"/>`,
  )}</g>`;
}

/** Buckets without a sample are missing: an unknown value between two neighbours that are none. */
function withGaps(points: readonly Point[], step: number): readonly Point[] {
  return points.flatMap((point, index) => {
    const before = points[index - 1];
    const isGap = before !== undefined && point.at - before.at > step * 1.5;
    return isGap ? [{ at: before.at + step, value: null }, point] : [point];
  });
}

function drawLevel({ name, kind, points, label }: Level, place: Place): Html {
  const { across, up, right } = place;
  const known = points.filter(({ value }) => value !== null);
  const last = known.at(-1);
  if (last === undefined || last.value === null) return none;
  const end = { at: last.at + place.step, value: last.value };
  const path = line<(typeof points)[number]>(
    ({ at }) => Math.min(across(at), right),
    ({ value }) => up(value ?? 0),
  )
    .curve(curveStepAfter)
    .defined(({ value }) => value !== null)([...points, end]);
  const y = up(last.value) + (label === 'above' ? -5 : 14);
  return html`<g class="level ${kind}"><path d="${path ?? ''}"/><text x="${right}" y="${y}" class="end">${name}</text></g>`;
}

/** The marks of a time, with the deploy that it begins with. */
export const marksIn = (
  marks: readonly ReportMark[],
  from: number,
  to: number,
): readonly ReportMark[] => marks.filter(({ at }) => at >= from - afterDeploy && at <= to);

/** Glyphs above the drawing, one shape for each kind, and a thin line down. */
function drawMarks(marks: readonly ReportMark[], place: Place, { from, to }: Chart): Html {
  const drawn = marksIn(marks, from, to + place.step).map(({ at, kind, text }) => {
    const x = Math.max(place.left, Math.min(place.across(at), place.right));
    const title = `${formatInstant(at)}: ${text}`;
    return html`<g class="mark ${kind}"><title>${title}</title><path class="pole" d="M${x} 22V${place.bottom}"/><path class="glyph" d="${glyph(kind, x, 15)}"/></g>`;
  });
  return html`<g>${drawn}</g>`;
}

/** A shape around a centre: kinds differ by more than their colour. */
export function glyph(kind: ReportMark['kind'], x: number, y: number): string {
  switch (kind) {
    case 'deploy':
      return `M${x - 5} ${y - 5}h10L${x} ${y + 6}z`;
    case 'undo':
      return `M${x - 5} ${y + 5}h10L${x} ${y - 6}z`;
    case 'repair':
      return `M${x - 5} ${y - 5}h10v10h-10z`;
    case 'job':
      return `M${x - 5} ${y}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0`;
    case 'restart':
      return `M${x} ${y - 6}l6 6l-6 6l-6 -6z`;
    case 'reboot':
      return `M${x - 2} ${y - 6}h4v4h4v4h-4v4h-4v-4h-4v-4h4z`;
    case 'oom':
      return `M${x - 6} ${y - 4}l2 -2l4 4l4 -4l2 2l-4 4l4 4l-2 2l-4 -4l-4 4l-2 -2l4 -4z`;
  }
}

/** Pixels of a label and of the space beside it. */
const labelWidth = 64;

/** Times whose labels do not touch. */
function spread(times: readonly Date[], across: (time: Date) => number): readonly Date[] {
  const kept: Date[] = [];
  for (const time of times) {
    const last = kept.at(-1);
    if (last === undefined || across(time) - across(last) >= labelWidth) kept.push(time);
  }
  return kept;
}

/** `02:00`; at midnight `19 Jan`; within a minute `02:00:15`. */
function formatTick(time: Date): string {
  const text = time.toISOString();
  if (time.getUTCSeconds() !== 0) return text.slice(11, 19);
  if (!text.endsWith('T00:00:00.000Z')) return text.slice(11, 16);
  const month = [
    'Jan',
    'Feb',
    'Mar',
    'Apr',
    'May',
    'Jun',
    'Jul',
    'Aug',
    'Sep',
    'Oct',
    'Nov',
    'Dec',
  ][time.getUTCMonth()];
  return `${time.getUTCDate()} ${month}`;
}

/** A label at the edge must not leave the drawing. */
function anchor(at: number, left: number, right: number): string {
  if (at > right - 20) return 'end';
  return at < left + 4 ? 'start' : 'middle';
}

const round = (value: number): number => Math.round(value * 10) / 10;
