import { describe, expect, test } from 'vitest';
import { consumingQuery, sawNothingWaiting } from '../../../src/celery/consuming.ts';
import type { UnitFact } from '../../../src/model/facts/unit.ts';
import { seconds } from '../../../src/model/units.ts';
import { describeDeafness } from '../../../src/report/deafness.ts';
import { workerCall } from '../verify/facts.ts';

const app = { unit: 'u.service', interpreter: ['/usr/bin/python3'], app: 'app', pythonPath: [] };

test('the queues of the line are asked for, or those of the app', () => {
  expect(consumingQuery(app, workerCall({ queues: ['a'] }))).toEqual({
    ...app,
    queues: ['a'],
    forks: true,
  });
  expect(consumingQuery(app, workerCall({ queues: 'default' }))).toMatchObject({ queues: null });
  expect(consumingQuery(app, workerCall({ queues: 'unknown' }))).toBeNull();
  expect(consumingQuery(app, null)).toBeNull();
});

test('only evidence makes a worker deaf', () => {
  expect(describeDeafness({ kind: 'consumes' })).toBeNull();
  expect(describeDeafness({ kind: 'unknown', problem: 'it is at work' })).toBeNull();
  expect(
    describeDeafness({ kind: 'nothing', waiting: { a: 1 }, answers: false, seconds: seconds(14) }),
  ).toBe('it runs and consumes nothing: 1 message waits in a, and it did not answer for 14 s');
  const status = 'Consumes nothing: 3 messages waited for 120 s and it took none';
  expect(describeDeafness({ kind: 'told', status })).toBe(
    'it runs and consumes nothing: 3 messages waited for 120 s and it took none',
  );
});

describe('what the worker reports itself', () => {
  const call = workerCall({ queues: ['video', 'celery'] });
  const ago = (status: string | undefined, changes: Partial<UnitFact> = {}, of = call) =>
    sawNothingWaiting(
      {
        activeState: 'active',
        properties: status === undefined ? {} : { StatusText: status },
        ...changes,
      } as UnitFact,
      { monotonic: seconds(1000) },
      of,
    );
  const queues = 'queues=2 waiting:celery=0 waiting:video=0';
  const report = `Consuming from celery, video [at=960 active=1 processed=7 ${queues}]`;

  test('counts if no message waited in any of its queues', () => {
    expect(ago(report)).toBe(40);
    expect(ago(report, {}, workerCall({ queues: 'default' }))).toBe(40);
    // The host read its clock a moment before systemd was asked.
    expect(ago(report.replace('960', '1001'))).toBe(0);
    const odd = 'Consuming from a=b, c [at=960 queues=2 waiting:a%3Db=0 waiting:c=0]';
    expect(ago(odd, {}, workerCall({ queues: ['c', 'a=b'] }))).toBe(40);
  });

  test.each([
    ['no status', undefined],
    ['no report', 'Consuming from celery, video'],
    ['a message waited', report.replace('video=0', 'video=3')],
    ['it is old', report.replace('960', '909')],
    ['it is of the future', report.replace('960', '1002')],
    ['the broker did not tell', report.replace(` ${queues}`, '')],
    ['a queue is not measured', report.replace('queues=2 waiting:celery=0', 'queues=1')],
    ['the list is cut off', report.replace(' waiting:video=0', '')],
    ['it lists what it does not consume', report.replace('celery, video', 'celery')],
    ['it consumes other queues', report.replaceAll('video', 'mail')],
    [
      'it has more of them',
      report.replace(', video', ', mail, video').replace('queues=2', 'queues=3 waiting:mail=0'),
    ],
    ['it consumes none', 'Consuming from no queue [at=960 active=0 processed=0 queues=0]'],
    [
      'it is deaf',
      `Consumes nothing: 3 messages waited for 120 s and it took none${report.slice(report.indexOf(' ['))}`,
    ],
    ['it reconnects', report.replace('Consuming from celery, video', 'Reconnecting to the broker')],
    ['a count is none', report.replace('video=0', 'video=')],
    ['it is longer than systemd takes', `${report.slice(0, -1)}${' a=1'.repeat(1100)}]`],
    ['something follows', `${report} and more`],
  ])('does not count if %s', (_, status) => {
    expect(ago(status)).toBeNull();
  });

  test('does not count for a worker that stops, or whose queues are not known', () => {
    expect(ago(report, { activeState: 'deactivating' })).toBeNull();
    expect(ago(report, {}, workerCall({ queues: 'unknown' }))).toBeNull();
  });
});
