import { expect, test } from 'vitest';
import { recordedStop } from '../../../../src/jobs/judge/recorded-stop.ts';
import type { Outcome, Step } from '../../../../src/model/outcome.ts';
import { seconds } from '../../../../src/model/units.ts';

const unit = 'celery-worker.service';

const step = (op: string, result?: Step['result'], status: Step['status'] = 'done'): Step => ({
  index: 0,
  op,
  status,
  message: '',
  seconds: seconds(1),
  ...(result !== undefined && { result }),
});

const of = (steps: readonly Step[], result: Outcome['result'] = 'committed') =>
  recordedStop({ transaction: '20261122T131500-4f2a', result, steps }, unit)?.at ?? null;

const stop = step('stop-unit', { consumedUntil: 7, stoppedAt: 1000 });
const start = step('start-unit', { consumesFrom: 9, restedUntil: 1005 });

test('is the moment at which nothing of the worker was left, its strays included', () => {
  expect(of([stop, start])).toBe(1000);
  expect(of([stop, step('end-process', { endedAt: 1003 }), start])).toBe(1003);
  expect(of([stop, step('end-process', { endedAt: 990 }), start])).toBe(1000);
  // Strays that had ended by themselves.
  expect(of([stop, step('end-process', undefined, 'already'), start])).toBe(1000);
});

test('of a unit that was at rest already, it is the moment before its start', () => {
  expect(of([start])).toBe(1005);
  expect(of([step('stop-unit', undefined, 'already'), start])).toBe(1005);
});

test.each([
  ['nothing was restarted', [step('end-process', { endedAt: 1003 }), step('prove-unit')]],
  ['something ran again at once', [step('start-unit', { consumesFrom: 9, restedUntil: null })]],
  ['it was running already', [step('start-unit', undefined, 'already')]],
  ['the host said something else', [step('stop-unit', { stoppedAt: 'yesterday' })]],
  ['an older host said nothing', [step('stop-unit', { consumedUntil: 7 })]],
])('there is none: %s', (_, steps) => {
  expect(of(steps)).toBeNull();
});

test('there is none where the release did not stay', () => {
  expect(of([stop, start], 'undone')).toBeNull();
  expect(of([stop, start], 'undo-failed')).toBeNull();
});
