import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { reportSchema, reportShape } from '../../../src/report/report-shape.ts';
import { emptyReport, hostileReport, sampleReport } from '../../lib/sample-report.ts';

const file = join(import.meta.dirname, '../../../docs/reference/report.schema.json');

test('the published JSON Schema is that of the shape', () => {
  const schema = JSON.parse(readFileSync(file, 'utf8'));
  expect(schema).toEqual(reportSchema());
  expect(schema.required).toEqual(Object.keys(sampleReport()));
});

describe('a report has the shape, before and after it is written', () => {
  test.each([
    ['with every part', sampleReport()],
    ['of nothing', emptyReport()],
    ['of hostile texts', hostileReport()],
  ])('%s', (_, report) => {
    expect(reportShape.strict().parse(JSON.parse(JSON.stringify(report)))).toEqual(report);
  });
});

test.each([
  ['another version', { version: 2 }],
  ['no verdict', { verdict: undefined }],
  ['a verdict that is none', { verdict: { conclusion: 'fine', sentence: '' } }],
  ['a text for a number', { at: 'now' }],
])('not a report: %s', (_, change) => {
  expect(reportShape.safeParse({ ...sampleReport(), ...change }).success).toBe(false);
});
