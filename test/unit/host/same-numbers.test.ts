import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { SAMPLE_EVERY_SECONDS } from '../../../src/model/sample.ts';
import { mostPaths } from '../../../src/plan/deploy/sampler.ts';
import { guardSeconds } from '../../../src/report/interrupted.ts';

const host = join(import.meta.dirname, '../../../host/celeriac_host');

/** A number that a module of the host has under this name. */
function numberOf(path: string, name: string): number {
  const text = readFileSync(join(host, path), 'utf8');
  const [, value] = new RegExp(`^${name} = (\\d+)$`, 'm').exec(text) ?? [];
  expect(value, `${name} of ${path}`).toBeDefined();
  return Number(value);
}

it('the host watches as many paths as a plan names', () => {
  expect(numberOf('state/sampling.py', 'MOST_PATHS')).toBe(mostPaths);
});

it('the host takes samples as often as the charts expect', () => {
  expect(numberOf('state/sampler_timer.py', 'EVERY_SECONDS')).toBe(SAMPLE_EVERY_SECONDS);
});

it('the guard begins within the time that a cancelled run tells', () => {
  expect(numberOf('transaction/guard.py', 'TICK_SECONDS')).toBeLessThan(guardSeconds);
});
