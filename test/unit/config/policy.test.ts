import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { beatCommand, workerCommand } from '../../../src/celery/worker-process.ts';
import { policySchema, policyShape } from '../../../src/config/policy.ts';

const root = join(import.meta.dirname, '../../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const known = JSON.parse(read('test/fixtures/policies.json')) as Record<
  'valid' | 'invalid',
  Record<string, unknown>
>;

describe('the policy of a host', () => {
  it.each(Object.keys(known.valid))('is valid: %s', (name) => {
    expect(policyShape.safeParse(known.valid[name]).error).toBeUndefined();
  });

  it.each(Object.keys(known.invalid))('is not valid: %s', (name) => {
    expect(policyShape.safeParse(known.invalid[name]).success).toBe(false);
  });

  it('is published as a JSON Schema', () => {
    const schema = JSON.parse(read('docs/reference/policy.schema.json'));
    expect(schema).toEqual(policySchema());
    expect(schema.required).toEqual(['version', 'access', 'units', 'appUser']);
    expect(schema.additionalProperties).toBe(false);
  });

  it('has every key in its reference page', () => {
    const page = read('docs/reference/policy.md');
    for (const key of Object.keys(policyShape.shape)) {
      if (key !== '$schema') expect(page).toContain(`| \`${key}\` |`);
    }
  });
});

it('every rule that a refusal may name is explained', () => {
  const folder = 'host/celeriac_host/policy';
  const sources = readdirSync(join(root, folder)).filter((name) => name.endsWith('.py'));
  const named = sources.flatMap((name) =>
    [
      ...read(`${folder}/${name}`).matchAll(
        /(?:Refused\(|_fault\(|\bRule\(|^RULE = )\s*"([a-zA-Z][\w ]*)"/gm,
      ),
    ].map(([, rule]) => rule),
  );
  const page = read('docs/reference/policy.md');
  const [, table = ''] = /\| rule \| what it allows \|\n(.*?)\n\n/s.exec(page) ?? [];
  const explained = table.split('\n').flatMap((line) => line.split('|')[1]?.match(/[\w ]+(?=`)/g));
  expect(named.length).toBeGreaterThan(50);
  expect([...new Set(named)].filter((rule) => !explained.includes(rule)).sort()).toEqual([]);
});

it.each([
  ['WORKERS_SHA256', workerCommand],
  ['BEATS_SHA256', beatCommand],
])('the host takes the pattern of %s, and no other', (name, pattern) => {
  const digest = createHash('sha256').update(pattern).digest('hex');
  expect(read('host/celeriac_host/policy/fields.py')).toContain(`\n${name} = "${digest}"\n`);
});
