import { describe, expect, test } from 'vitest';
import type { Report } from '../../../../src/model/report.ts';
import { epochSeconds, seconds } from '../../../../src/model/units.ts';
import { type Chart, drawChart, glyph } from '../../../../src/report/page/chart.ts';
import { memoryChart, queueChart } from '../../../../src/report/page/charts.ts';
import { timelineOf } from '../../../../src/report/timeline.ts';
import { begin, sampleAt, sampleReport } from '../../../lib/sample-report.ts';

const chart = (changes: Partial<Chart> = {}): Chart => ({
  id: 'c',
  title: 'Chart',
  description: 'What it shows.',
  from: begin,
  to: begin + 240,
  step: 60,
  top: 100,
  tickUnit: 1,
  isCount: false,
  formatValue: String,
  series: [],
  levels: [],
  marks: [],
  ...changes,
});

const at = (minute: number, value: number | null) => ({
  at: begin + minute * 60,
  value: value === null ? null : { min: value, max: value },
});

const lines = (points: Chart['series'][number]['points']): Chart['series'] => [
  { name: 'one', style: 0, filled: false, points },
];

/** The drawing for wide screens alone. */
const wide = (drawn: { readonly text: string }): string => drawn.text.split('</svg>')[0] ?? '';

const pathOf = (svg: string, name: string): string =>
  new RegExp(`<path class="${name}" d="([^"]*)"`).exec(svg)?.[1] ?? '';

/** The values at the corners of a path, by the scale of the drawing for wide screens. */
function valuesOf(path: string, top: number): readonly number[] {
  const [low, high] = [300 - 28, 30];
  return [...path.matchAll(/[ML][^,]+,([\d.]+)/g)].map(
    ([, y]) => Math.round(((low - Number(y)) / (low - high)) * top * 10) / 10,
  );
}

describe('a chart', () => {
  test('has a name and a description for screen readers, once in each drawing', () => {
    const { text } = drawChart(chart());
    const drawings = [...text.matchAll(/<svg class="chart (\w+)"[^>]*aria-labelledby="([^"]+)"/g)];
    expect(drawings.map(([, size]) => size)).toEqual(['wide', 'narrow']);
    for (const [, , ids = ''] of drawings) {
      for (const id of ids.split(' ')) expect(text.split(`id="${id}"`)).toHaveLength(2);
    }
  });

  test('draws each value where it is', () => {
    const svg = wide(drawChart(chart({ series: lines([at(0, 0), at(1, 25), at(2, 100)]) })));
    expect(valuesOf(pathOf(svg, 'line'), 100)).toEqual([0, 25, 100]);
  });

  test('draws no line over a gap', () => {
    const over = lines([at(0, 5), at(1, 6), at(4, 7), at(5, 8)]);
    const svg = wide(drawChart(chart({ to: begin + 300, series: over })));
    expect(pathOf(svg, 'line').match(/M/g)).toHaveLength(2);
  });

  test('draws no line over an unknown value', () => {
    const svg = wide(
      drawChart(chart({ series: lines([at(0, 5), at(1, 6), at(2, null), at(3, 7), at(4, 8)]) })),
    );
    expect(pathOf(svg, 'line').match(/M/g)).toHaveLength(2);
  });

  test('a value between two gaps is a dot', () => {
    const svg = wide(drawChart(chart({ series: lines([at(0, 5), at(3, 6)]) })));
    expect(svg.match(/<circle/g)).toHaveLength(2);
  });

  test('counts have whole numbers at the axis only', () => {
    const svg = wide(drawChart(chart({ top: 2, isCount: true })));
    const labels = [...svg.matchAll(/class="end">(\d+)</g)].map(([, label]) => label);
    expect(labels).toEqual(['0', '1', '2']);
  });

  test('a level is a line with its name, and nothing where it is not known', () => {
    const level = (points: Chart['levels'][number]['points']) =>
      wide(
        drawChart(chart({ levels: [{ name: 'MemoryMax', kind: 'max', label: 'above', points }] })),
      );
    expect(level([{ at: begin, value: 50 }])).toContain('>MemoryMax</text>');
    expect(level([{ at: begin, value: null }])).not.toContain('MemoryMax');
  });

  test('marks outside its time are not drawn', () => {
    const mark = (seconds_: number): Report['marks'][number] => ({
      at: epochSeconds(begin + seconds_),
      kind: 'deploy',
      text: `at ${seconds_}`,
    });
    const svg = wide(drawChart(chart({ marks: [mark(-1), mark(60), mark(9999)] })));
    expect(
      [...svg.matchAll(/<g class="mark deploy"><title>[^<]*: ([^<]*)</g)].map((m) => m[1]),
    ).toEqual(['at 60']);
  });

  test('each kind of mark has a shape of its own', () => {
    const kinds = ['deploy', 'undo', 'repair', 'job', 'restart', 'reboot', 'oom'] as const;
    expect(new Set(kinds.map((kind) => glyph(kind, 0, 0))).size).toBe(kinds.length);
  });

  test.each([
    ['one moment', chart({ to: begin })],
    ['only zeros', chart({ series: lines([at(0, 0), at(1, 0)]) })],
    ['no points', chart({ series: lines([]) })],
  ])('has numbers only: %s', (_, given) => {
    const { text } = drawChart(given);
    expect(text).not.toMatch(/NaN|Infinity|undefined|Invalid/);
  });
});

const numbersOf = (text: string): readonly number[] =>
  [...text.matchAll(/<data value="([^"]*)"/g)].map(([, value]) => Number(value));

describe('memory', () => {
  test('the drawing and its table show the numbers of the report', () => {
    const report = sampleReport({
      timeline: timelineOf([0, 1, 2, 3].map((minute) => sampleAt(minute))),
    });
    const { text } = memoryChart(report);
    const buckets = report.timeline?.buckets ?? [];
    const rows = text.slice(text.indexOf('<tbody>')).split('</tr>').slice(0, -1);
    expect(rows.map(numbersOf)).toEqual(
      buckets.map(({ memory, main, children, swap, high, max, errors, rateLimited, oomKills }) =>
        [
          memory?.min,
          memory?.max,
          main,
          children,
          swap,
          high,
          max,
          errors,
          rateLimited,
          oomKills,
        ].filter((value) => value !== null),
      ),
    );
  });

  test('a limit far above is named instead of making a flat line', () => {
    const far = timelineOf(
      [0, 1, 2].map((minute) => {
        const sample = sampleAt(minute);
        const memory = sample.memory;
        return memory === null
          ? sample
          : { ...sample, memory: { ...memory, max: (2 ** 36) as never } };
      }),
    );
    const { text } = memoryChart(sampleReport({ timeline: far }));
    expect(text).toContain('MemoryMax, 64 GiB, is above this chart.');
    expect(text).not.toContain('class="level max"');
  });

  test('without samples it says so', () => {
    expect(memoryChart(sampleReport({ timeline: null })).text).toContain('Not known:');
  });
});

describe('queues', () => {
  test('the table has each queue; the drawing the longest', () => {
    const queues = Object.fromEntries(Array.from({ length: 9 }, (_, n) => [`q${n}`, n]));
    const worker = { queues, active: 1, processed: null };
    const { text } = queueChart(
      sampleReport({ timeline: timelineOf([sampleAt(0, { worker }), sampleAt(1, { worker })]) }),
    );
    expect([...text.matchAll(/<th scope="col">(q\d)</g)].map(([, name]) => name)).toEqual(
      Array.from({ length: 9 }, (_, n) => `q${8 - n}`),
    );
    expect(wide({ text }).match(/<g class="series/g)).toHaveLength(6);
    expect(text).toContain('The 6 longest of 9 queues');
  });

  test('without reports of the worker it says so', () => {
    const timeline = timelineOf([sampleAt(0, { worker: null })]);
    expect(queueChart(sampleReport({ timeline })).text).toContain('Not known:');
  });
});

test('buckets of hours are drawn as one line', () => {
  const hourly = [0, 60, 120].flatMap((minute) => timelineOf([sampleAt(minute)])?.buckets ?? []);
  const timeline = {
    from: epochSeconds(begin),
    to: epochSeconds(begin + 7200),
    bucketSeconds: seconds(3600),
    samples: 3,
    buckets: hourly,
  };
  const svg = wide(memoryChart(sampleReport({ timeline })));
  expect(pathOf(svg, 'line').match(/M/g)).toHaveLength(1);
});
