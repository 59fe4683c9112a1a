import { describe, expect, test } from 'vitest';
import type { Report } from '../../../src/model/report.ts';
import { epochSeconds, MiB } from '../../../src/model/units.ts';
import { capMarkdown } from '../../../src/report/escape.ts';
import { marksMermaid, memoryMermaid } from '../../../src/report/mermaid.ts';
import { summaryOfReport } from '../../../src/report/report-summary.ts';
import { renderSummary } from '../../../src/report/summary.ts';
import { timelineOf } from '../../../src/report/timeline.ts';
import {
  begin,
  daySamples,
  emptyReport,
  hostileReport,
  hostileWords,
  sampleAt,
  sampleReport,
} from '../../lib/sample-report.ts';

const summary = (report: Report): string =>
  renderSummary({
    action: 'verify',
    subject: report.unit,
    host: report.host,
    sentence: report.verdict.sentence,
    ...summaryOfReport(report),
  });

const healthy = sampleReport({
  verdict: { conclusion: 'healthy', sentence: 'Healthy: 3 checks passed.' },
  checks: sampleReport().checks.filter(({ verdict }) => verdict === 'pass'),
});

/** What is read without unfolding anything. */
const visible = (markdown: string): string =>
  markdown.replace(/<details>\n<summary>[\s\S]*?<\/details>/g, '');

test('the verdict comes first, then the list, then the checks that need attention', () => {
  const lines = summary(sampleReport()).split('\n');
  expect(lines.slice(0, 5)).toEqual([
    '### verify · celery-worker.service on vps.example.com',
    '',
    'Not healthy: 1 check failed, 3 passed, 1 warning, 1 unknown.',
    '',
    '- [ ] 6.1 memory use (**not checked**)',
  ]);
  const table = lines.filter((line) => line.startsWith('| '));
  expect(table.slice(2, 5).map((line) => line.split(' | ')[1])).toEqual([
    'fail',
    'unknown',
    'warn',
  ]);
});

test('it is short when all is well', () => {
  const shown = visible(summary(healthy)).trim().split(/\n+/);
  expect(shown).toHaveLength(12);
  expect(visible(summary(sampleReport())).length).toBeGreaterThan(1500);
});

test('folded: memory and marks, latency, comparison, diff; evidence of what did not pass', () => {
  const text = summary(sampleReport());
  const titles = [...text.matchAll(/<summary>([^<]*)/g)].map(([, title]) => title);
  expect(titles).toEqual([
    '6 checks',
    'Memory over 23 h 59 min, and what happened',
    'Latency of the probes',
    'Compared with the last proven release',
    'Changes of the unit by release 7',
    'HTTP 429: 2 lines of evidence',
    'Errors in the journal: 1 line of evidence',
  ]);
  expect(text).toContain('+MemoryMax=800M');
  expect(text).toContain('| HTTP 429 | 31.5 an hour | 0.71 an hour | better |');
});

test('a report of nothing has no empty parts', () => {
  const text = summary(emptyReport());
  expect(text).not.toMatch(/<details|mermaid|NaN|undefined|null/);
});

test('hostile texts become no markup, and end no fence', () => {
  const text = summary(hostileReport());
  const outside = text.replace(/^(`{3,})[\s\S]*?^\1$/gm, '');
  expect(outside).not.toMatch(/<(?!\/?(?:details|summary)\b)[a-z]/);
  const opened = outside.match(/<details/g)?.length;
  expect(opened).toBe(outside.match(/<\/details>/g)?.length);
});

test('too much of everything is cut, and says so, with nothing left open', () => {
  const { checks } = sampleReport();
  const many = Array.from({ length: 40 }, (_, n) => ({
    ...checks[n % checks.length],
    id: `c${n}`,
    evidence: Array.from({ length: 200 }, () => 'x'.repeat(1000)),
  })) as Report['checks'];
  const text = summary(sampleReport({ checks: many }));
  expect(Buffer.byteLength(text)).toBeLessThanOrEqual(MiB);
  expect(text).toContain('was cut here');
  expect(text.match(/^<details/gm)?.length).toBe(text.match(/^<\/details>/gm)?.length);
});

test('a part that is open when it is cut is closed, too', () => {
  const long = `<details open>\n<summary>x</summary>\n\n${'row\n'.repeat(400)}\n</details>\n`;
  const cut = capMarkdown(long, 800);
  expect(cut).toContain('</details>');
  expect(cut.length).toBeLessThanOrEqual(800);
});

describe('memory in Mermaid', () => {
  const linesOf = (text: string) =>
    [...text.matchAll(/ {2}line \[([^\]]*)\]/g)].map(([, values = '']) =>
      values.split(', ').map(Number),
    );

  test('has the highest of each part of the day, and the limits', () => {
    const timeline = timelineOf(daySamples());
    if (timeline === null) throw new Error('no timeline');
    const text = memoryMermaid(timeline);
    const [memory = [], max, high] = linesOf(text);
    expect(memory).toHaveLength(12);
    expect(Math.max(...memory)).toBe(781);
    expect([max, high]).toEqual([Array(12).fill(800), Array(12).fill(600)]);
    expect(text).toContain('x-axis ["02:00", "04:00"');
    expect(text).toContain('The flat line at 800 MiB is MemoryMax.');
  });

  test('eight days have labels of their own', () => {
    const timeline = timelineOf(daySamples(8 * 1440));
    if (timeline === null) throw new Error('no timeline');
    const labels = /x-axis \[([^\]]*)\]/.exec(memoryMermaid(timeline))?.[1]?.split(', ') ?? [];
    expect(labels[0]).toBe('"01-18 02:00"');
    expect(new Set(labels).size).toBe(labels.length);
    expect(labels.length).toBeLessThanOrEqual(7);
  });

  test('a gap is left out, and named', () => {
    const minutes = [0, 1, 2, 9, 10, 11];
    const timeline = timelineOf(minutes.map((minute) => sampleAt(minute)));
    if (timeline === null) throw new Error('no timeline');
    const text = memoryMermaid(timeline);
    expect(linesOf(text)[0]).toHaveLength(6);
    expect(text).toContain('Times without samples are left out.');
  });

  test('a limit that is far away, or was not always there, is no line', () => {
    const far = timelineOf(
      [0, 1, 2].map((minute) => {
        const sample = sampleAt(minute);
        const memory = sample.memory as NonNullable<typeof sample.memory>;
        const high = minute === 0 ? null : memory.high;
        return { ...sample, memory: { ...memory, high, max: (2 ** 36) as typeof memory.max } };
      }),
    );
    if (far === null) throw new Error('no timeline');
    expect(linesOf(memoryMermaid(far))).toHaveLength(1);
  });

  test('one moment is no chart', () => {
    const timeline = timelineOf([sampleAt(0)]);
    if (timeline === null) throw new Error('no timeline');
    expect(memoryMermaid(timeline)).toBe('');
  });
});

describe('marks in Mermaid', () => {
  const mark = (after: number, text: string): Report['marks'][number] => ({
    at: epochSeconds(begin + after),
    kind: 'deploy',
    text,
  });

  test('are those of the time of the samples', () => {
    const marks = [mark(-6000, 'before'), mark(60, 'one'), mark(120, 'two')];
    const text = marksMermaid(sampleReport({ marks }));
    expect(text).toContain('  one :milestone, 2026-01-18T02:01:00, 0d');
    expect(text).not.toContain('before');
  });

  test('a text ends no line of the diagram', () => {
    const text = marksMermaid(
      sampleReport({ marks: [mark(1, 'a: b; c # d\nsection x %%{init'), mark(2, hostileWords)] }),
    );
    const body = text.split('\n').slice(4, -1);
    expect(body).toHaveLength(4);
    expect(body[2]).toBe('  a b c d section x init :milestone, 2026-01-18T02:00:01, 0d');
    expect(body[3]).not.toMatch(/[<>"`;#%&]/);
  });

  test('a single one is no timeline', () => {
    expect(marksMermaid(sampleReport({ marks: [mark(60, 'one')] }))).toBe('');
  });
});
