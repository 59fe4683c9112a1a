import { expect, test } from 'vitest';
import { consumingQuery } from '../../../src/celery/consuming.ts';
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
