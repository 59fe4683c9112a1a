import { describe, expect, it } from 'vitest';
import type { Outcome, Step } from '../../../src/model/outcome.ts';
import { seconds } from '../../../src/model/units.ts';
import { describeRestart } from '../../../src/report/restart.ts';

const step = (op: string, result: Step['result'], status: Step['status'] = 'done'): Step => ({
  index: 0,
  op,
  status,
  message: `${op} said`,
  seconds: seconds(1),
  ...(result !== undefined && { result }),
});
const outcome = (...steps: Step[]) =>
  ({ transaction: 't', result: 'committed', steps }) satisfies Outcome;
const start = step('start-unit', { consumesFrom: 112.34 });

describe('downtime', () => {
  it('begins when the drained worker stops consuming, even if it stops later', () => {
    const done = outcome(
      step('drain-worker', { drained: true, consumedUntil: 100, left: [] }),
      step('stop-unit', { consumedUntil: 110 }),
      start,
    );
    expect(describeRestart(done)).toMatchObject({
      downtimeSeconds: 12.3,
      sentence: 'Downtime: no task was accepted for 12 s.',
      findings: [],
    });
  });

  it('begins with the stop of a worker that could not be drained', () => {
    const done = outcome(
      step('drain-worker', { drained: false, consumedUntil: null, problem: 'it is silent' }),
      step('stop-unit', { consumedUntil: 110 }),
      start,
    );
    expect(describeRestart(done)).toMatchObject({
      downtimeSeconds: 2.3,
      findings: [{ level: 'notice', message: 'drain-worker said' }],
    });
  });

  it.each([
    ['nothing was restarted', outcome()],
    ['none ran before', outcome(step('stop-unit', { consumedUntil: null }), start)],
    [
      'the unit does not say when it is ready',
      outcome(step('stop-unit', { consumedUntil: 1 }), step('start-unit', { consumesFrom: null })),
    ],
    [
      'it was undone',
      { ...outcome(step('stop-unit', { consumedUntil: 1 }), start), result: 'undone' as const },
    ],
  ])('is unknown when %s', (_why, done) => {
    expect(describeRestart(done)).toMatchObject({ downtimeSeconds: null, sentence: '' });
  });
});

describe('messages of dead workers', () => {
  const messages = [{ id: 'a1', task: 'tasks.work', queue: 'links' }];

  it('are a warning with their names and ids', () => {
    const done = outcome(step('find-unacked', { count: 1, restored: 0, messages }));
    expect(describeRestart(done).findings).toEqual([
      { level: 'warning', message: 'find-unacked said: a1 (tasks.work, queue links)' },
    ]);
  });

  it('are no warning if there are none, or all are back in their queues', () => {
    const none = step('find-unacked', { count: 0, restored: 0 });
    const back = step('restore-unacked', { count: 1, restored: 1, messages });
    expect(describeRestart(outcome(none, back)).findings).toEqual([]);
  });

  it('are a notice if the broker does not show them', () => {
    const done = outcome(step('find-unacked', { problem: 'not Redis' }));
    expect(describeRestart(done).findings).toMatchObject([{ level: 'notice' }]);
  });
});

it('says that the visibility timeout is unknown, or accepted although it is short', () => {
  const levels = (result: Step['result']) =>
    describeRestart(outcome(step('try-app', result))).findings.map(({ level }) => level);
  expect(levels({ problem: 'the app did not report it' })).toEqual(['warning']);
  expect(levels({ seconds: 600, accepted: true })).toEqual(['notice']);
  expect(levels({ seconds: 3600 })).toEqual([]);
  expect(levels(undefined)).toEqual([]);
});

describe('a release that failed', () => {
  const failed = (...steps: Step[]): Outcome => ({ ...outcome(...steps), result: 'undone' });
  const find = (status: Step['status']) => step('find-unacked', undefined, status);
  const told = (one: Outcome) => describeRestart(one).findings.map(({ message }) => message);

  it.each([
    ['crashed', failed(step('start-unit', undefined, 'undone'), find('skipped'))],
    ['did not start, after a restore', failed(step('start-unit', undefined, 'failed'))],
  ])('that %s may have left messages: nobody looked', (_, one) => {
    expect(told(one)).toEqual([expect.stringMatching(/this run did not look for them/)]);
  });

  it.each([
    ['was never started', failed(step('start-unit', undefined, 'skipped'), find('skipped'))],
    ['was looked after', failed(step('start-unit', undefined, 'undone'), find('done'))],
    ['stays', outcome(start)],
  ])('that %s leaves nothing to say', (_, one) => {
    expect(told(one)).toEqual([]);
  });
});
