import { expect, test } from 'vitest';
import { readShape } from '../../../../src/adapters/shapes/read-shape.ts';
import { sampleShape, samplesShape } from '../../../../src/adapters/shapes/sample-shape.ts';
import { keyPaths, shownPath, without } from './key-paths.ts';

const full = {
  v: 1,
  at: 1795889577.4,
  boot: 'd3b07384-d9a0-4c9b-8f3e-3a5d3a1f0a11',
  uptime: 86_400.5,
  changing: false,
  release: 12,
  unit: {
    active: 'active',
    sub: 'running',
    invocation: '0123456789abcdef0123456789abcdef',
    restarts: 0,
    result: 'success',
  },
  memory: {
    current: 300_000_000,
    anon: 250_000_000,
    peak: 400_000_000,
    main: 90_000_000,
    children: 210_000_000,
    swap: 0,
    high: 500_000_000,
    max: null,
  },
  host: { available: 500_000_000, swapFree: 2_000_000_000 },
  events: { high: 0, max: 0, oom: 0, oomKill: 0 },
  pressure: { memory: { some: 12, full: 3 }, io: { some: 0, full: 0 } },
  worker: { queues: { celery: 3 }, active: 1, processed: 120 },
  journal: { errors: 1, tracebacks: 1, rateLimited: 0, dropped: 0, unread: false },
  disk: [{ path: '/', free: 1e9, size: 2e10, inodesFree: 1e6, inodes: 2e6 }],
};
const empty = {
  ...full,
  changing: null,
  release: null,
  unit: null,
  memory: null,
  events: null,
  pressure: null,
  worker: null,
  journal: null,
  disk: [],
};
const answer = (samples: readonly unknown[]) => ({
  samples,
  cursor: { file: 'f', offset: 1 },
  more: false,
  restarted: false,
  sampling: true,
  soakSeconds: null,
  soakLimits: null,
});

/** The lengths of its queues are not known. */
const silent = { ...full, worker: { queues: null, active: 1, processed: null } };

/** What lines of an earlier version lack. */
const added = ['changing', 'release', 'memory.anon', 'journal.unread'];

test.each([[full], [empty], [silent]])('a sample is read completely', (sample) => {
  expect(readShape(sampleShape, sample)).toEqual({ kind: 'read', value: sample });
});

test('each key of a sample is needed', () => {
  const optional = ['worker.queues.celery', ...added];
  const paths = keyPaths(full).filter((path) => !optional.includes(path.join('.')));
  for (const path of paths) {
    const problem = `${shownPath(path)} is missing`;
    expect(readShape(sampleShape, without(full, path))).toEqual({ kind: 'refused', problem });
  }
});

test('a line of an earlier version is read: what it lacks is not known', () => {
  const { changing: _, release: ____, ...rest } = full;
  const { anon: __, ...memory } = full.memory;
  const { unread: ___, ...journal } = full.journal;
  expect(readShape(sampleShape, { ...rest, memory, journal })).toEqual({
    kind: 'read',
    value: {
      ...full,
      changing: null,
      release: null,
      memory: { ...memory, anon: null },
      journal: { ...journal, unread: null },
    },
  });
});

test('a key of a later version is dropped', () => {
  const later = { ...full, battery: 5 };
  expect(readShape(sampleShape, later)).toEqual({ kind: 'read', value: full });
});

test('a sample that cannot be read is missing, and those beside it are not', () => {
  const lines = [full, { v: 2 }, 'x', null, { ...full, at: 'noon' }, empty];
  expect(readShape(samplesShape, answer(lines))).toEqual({
    kind: 'read',
    value: answer([full, empty]),
  });
});

test('of limits that a deploy recorded, one that the host cannot read is missing', () => {
  for (const soakLimits of [null, {}, { rateLimitMax: null, consecutive: 3 }]) {
    const value = { ...answer([]), soakLimits };
    expect(readShape(samplesShape, value)).toEqual({ kind: 'read', value });
  }
});
