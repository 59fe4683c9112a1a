import { describe, expect, test } from 'vitest';
import type { z } from 'zod/mini';
import * as answers from '../../../../src/adapters/shapes/answers.ts';
import { readShape } from '../../../../src/adapters/shapes/read-shape.ts';
import { keyPaths, shownPath, without, withValue } from './key-paths.ts';

/* As the agent of a real host said them. */
const step = {
  index: 0,
  op: 'write-file',
  status: 'done',
  message: '/root/x written (0644)',
  seconds: 0.001,
};
const outcome = {
  transaction: '20261128T181259-a856',
  result: 'committed',
  steps: [step],
  confirmBy: 1795892579.5964026,
};
const undone = {
  transaction: '20261128T181234-e21a',
  result: 'undone',
  steps: [{ ...step, status: 'failed' }],
  failure: {
    index: 0,
    message: 'swapon failed',
    ran: ['swapon', '/swapfile'],
    exitCode: null,
    evidence: ['swapon: /swapfile: Operation not permitted'],
  },
};
const deed = { ...undone, by: 'the host itself', why: 'interrupted' };
const job = {
  id: '5a0c',
  where: 'celery',
  state: 'done',
  detail: '',
  seconds: 0.2,
  place: 'done',
  left: null,
};

interface Case {
  readonly name: string;
  readonly shape: z.ZodMiniType;
  readonly sample: unknown;
  /** Keys that may be missing. */
  readonly optional?: readonly string[];
  /** What is read of it, if that is more. */
  readonly more?: object;
}

const failureKeys = ['failure.ran', 'failure.exitCode', 'failure.evidence'];
const cases: readonly Case[] = [
  {
    name: 'hello',
    shape: answers.helloShape,
    sample: { hello: 'celeriac', protocol: 1, python: '3.11.2', user: 'root', pid: 4711 },
    more: { kind: 'streamed' },
  },
  {
    name: 'outcome',
    shape: answers.outcomeShape,
    sample: outcome,
    optional: ['confirmBy'],
  },
  {
    name: 'outcome that was undone',
    shape: answers.outcomeShape,
    sample: undone,
    optional: ['failure', ...failureKeys],
  },
  {
    name: 'answer to recover',
    shape: answers.deedsShape,
    sample: { deeds: [deed] },
    optional: ['failure', ...failureKeys].map((key) => `deeds[0].${key}`),
  },
  { name: 'answer to confirm', shape: answers.confirmedShape, sample: { confirmed: true } },
  { name: 'answer to prove', shape: answers.recordedShape, sample: { recorded: true } },
  {
    name: 'answer to receive',
    shape: answers.receivedShape,
    sample: { sizeBytes: 737280, whole: false },
  },
  {
    name: 'answer to snapshot',
    shape: answers.snapshotShape,
    sample: {
      database: '/srv/app.db',
      holds: 'everything',
      sizeBytes: 53248,
      sha256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
      takenAt: 1795892579.5,
      writtenAt: null,
    },
  },
  {
    name: 'report of jobs',
    shape: answers.jobReportShape,
    sample: {
      ok: true,
      jobs: [job],
      problem: null,
      evidence: ['done'],
      delivery: { transport: 'redis', seconds: 3600, where: 'the default', problem: null },
    },
    optional: ['evidence', 'delivery', 'jobs[0].place', 'jobs[0].left'],
  },
  {
    name: 'fault',
    shape: answers.faultShape,
    sample: { message: 'the lock is held', ran: ['flock'], exitCode: 1, evidence: [], next: '' },
    optional: ['ran', 'exitCode', 'evidence', 'next'],
  },
  ...[
    { kind: 'opened', transactions: ['20261128T181259-a856'], live: '20261128T181259-a856' },
    { kind: 'step-started', index: 0, title: 'write the file' },
    { kind: 'step-ended', step },
    { kind: 'note', message: 'waiting' },
    {
      kind: 'probes',
      seconds: 3.1,
      probes: [{ where: 'celery', place: 'queued', detail: '' }],
    },
    { kind: 'chunk', data: 'AAAA' },
  ].map((sample) => ({ name: `progress: ${sample.kind}`, shape: answers.progressShape, sample })),
];

describe.each(cases)('the $name', ({ shape, sample, optional = [], more }) => {
  test('is read completely', () => {
    const value = more === undefined ? sample : { ...(sample as object), ...more };
    expect(readShape(shape, sample)).toEqual({ kind: 'read', value });
  });

  test('is rejected with the name of a missing key', () => {
    for (const path of keyPaths(sample)) {
      const reading = readShape(shape, without(sample, path));
      if (optional.includes(shownPath(path))) expect(reading.kind).toBe('read');
      else expect(reading).toEqual({ kind: 'refused', problem: `${shownPath(path)} is missing` });
    }
  });

  test('is rejected with the name of a key of the wrong type, but without its value', () => {
    for (const path of keyPaths(sample)) {
      const reading = readShape(shape, withValue(sample, path, [['hunter2']]));
      if (reading.kind === 'read') expect.fail(`${shownPath(path)} may be anything`);
      expect(reading.problem.startsWith(shownPath(path)), reading.problem).toBe(true);
      expect(reading.problem).not.toContain('hunter2');
    }
  });
});

test('the result of a step is passed on unread', () => {
  const found = { ...outcome, steps: [{ ...step, result: { changed: { jobs: 3 }, left: [] } }] };
  expect(readShape(answers.outcomeShape, found)).toEqual({ kind: 'read', value: found });
});

test('an undone transaction awaits no verdict, whenever it would have', () => {
  const { transaction, steps, failure } = undone;
  const reading = readShape(answers.outcomeShape, {
    ...undone,
    confirmBy: 1795892579.5,
    release: 3,
  });
  const value = { transaction, result: 'undone', steps, failure };
  expect(reading).toEqual({ kind: 'read', value });
});

test('an unknown value is rejected, and not repeated', () => {
  const reading = readShape(answers.outcomeShape, { ...outcome, result: 'hunter2' });
  const problem = 'result is not one of committed, undone, undo-failed';
  expect(reading).toEqual({ kind: 'refused', problem });
});
