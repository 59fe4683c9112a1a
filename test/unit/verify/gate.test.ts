import { describe, expect, test } from 'vitest';
import { ConfigError } from '../../../src/model/errors.ts';
import { seconds } from '../../../src/model/units.ts';
import { type GateSource, planGate, spreadCanaries } from '../../../src/verify/gate.ts';
import { workerCall } from './facts.ts';

const timeout = seconds(120);
const source = {
  unit: 'celery-worker.service',
  app: {
    kind: 'known',
    process: {
      unit: 'celery-worker.service',
      interpreter: ['/usr/bin/python3'],
      app: 'celery_app',
      pythonPath: ['/srv/app'],
    },
    workingDirectory: '/srv/app',
  },
  call: workerCall(),
} as const;
const app = { ...source.app.process, timeoutSeconds: timeout };

describe('canaries', () => {
  test.each([
    [[], 'celery', ['celery', 'celery', 'celery']],
    [['a'], 'a', ['a', 'a', 'a']],
    [['a', 'b'], 'a', ['b', 'a', 'b']],
    [['a', 'b', 'c'], 'a', ['b', 'c', 'a']],
    [['a', 'b', 'c', 'd'], 'a', ['b', 'c', 'd']],
    [['a', 'b', 'c', 'd', 'e', 'f'], 'a', ['b', 'c', 'd', 'e', 'f']],
    [['a', 'a', 'b'], 'a', ['b', 'a', 'b']],
  ])('over %j', (queues, first, batch) => {
    expect(spreadCanaries(queues, 3)).toEqual([first, batch]);
    for (const queue of queues) expect([first, ...batch]).toContain(queue);
  });

  test('one probe, then a batch of three to the other queues', () => {
    expect(planGate({ kind: 'canary' }, source, timeout, 3)).toEqual([
      {
        id: 'gate-job',
        title: '1 canary to celery',
        request: { kind: 'canary', ...app, queues: ['celery'] },
      },
      {
        id: 'gate-batch',
        title: '3 canaries to batch, links and variations',
        request: { kind: 'canary', ...app, queues: ['batch', 'links', 'variations'] },
      },
    ]);
  });

  test('a larger batch is spread evenly, a smaller one leaves out no queue', () => {
    expect(spreadCanaries(['a', 'b'], 5)[1]).toEqual(['b', 'a', 'b', 'a', 'b']);
    expect(spreadCanaries(['a', 'b', 'c', 'd'], 1)[1]).toEqual(['b', 'c', 'd']);
  });

  const without = (missing: 'worker' | 'app' | 'interpreter') =>
    ({ ...source, app: { kind: 'unknown', missing } }) as const;
  const gone = { kind: 'unknown', missing: 'program', program: '/srv/v/celery' } as const;

  test.each<[string, GateSource, string]>([
    ['no call', without('worker'), 'cannot read a Celery worker command'],
    ['no app', without('app'), 'cannot read the app'],
    ['no interpreter', without('interpreter'), 'which Python'],
    ['no program', { ...source, app: gone }, 'runs /srv/v/celery, which is not on the host'],
    ['unknown queues', { ...source, call: workerCall({ queues: 'unknown' }) }, 'variables'],
  ])('%s is a configuration error', (_, from, text) => {
    const plan = () => planGate({ kind: 'canary' }, from, timeout, 3);
    expect(plan).toThrow(ConfigError);
    expect(plan).toThrow(text);
  });

  test('the default queue', () => {
    const call = workerCall({ queues: 'default' });
    expect(planGate({ kind: 'canary' }, { ...source, call }, timeout, 3)[0]?.title).toBe(
      '1 canary to celery',
    );
  });
});

test('a task is called once, then three times; hostile arguments are data', () => {
  const args = ['"$(x)`\n%n', { a: ['::error::'] }, null];
  const gate = { kind: 'task', task: 'tasks.work', queue: null, args } as const;
  // A task needs no queue of the worker.
  const call = workerCall({ queues: 'unknown' });
  expect(planGate(gate, { ...source, call }, timeout, 3)).toEqual([
    {
      id: 'gate-job',
      title: '1 call of tasks.work',
      request: { kind: 'task', ...app, task: 'tasks.work', queue: null, calls: [{ args }] },
    },
    {
      id: 'gate-batch',
      title: '3 calls of tasks.work',
      request: {
        kind: 'task',
        ...app,
        task: 'tasks.work',
        queue: null,
        calls: [{ args }, { args }, { args }],
      },
    },
  ]);
  expect(planGate({ ...gate, queue: 'batch' }, source, timeout, 3)[1]?.title).toBe(
    '3 calls of tasks.work to batch',
  );
});

describe('an HTTP call', () => {
  const gate = {
    kind: 'http',
    method: 'POST',
    url: 'http://localhost/api/batch',
    form: { links: 'a' },
    pollUrl: 'http://localhost/api/batch/{batch_id}/status',
    field: 'status',
    done: ['completed'],
    failed: ['failed'],
  } as const;
  const nothing = {
    unit: 'x.service',
    app: { kind: 'unknown', missing: 'worker' },
    call: null,
  } as const;

  test('may be followed by a request that removes what it made', () => {
    const clean = {
      method: 'DELETE',
      url: 'http://localhost/api/batch/{batch_id}',
      form: {},
    } as const;
    const batchForm = { links: 'a,b' };
    const requests = planGate({ ...gate, batchForm, clean }, nothing, timeout, 3);
    expect(requests.map(({ request }) => request)).toMatchObject([{ clean }, { clean }]);
  });

  test('needs nothing from the unit', () => {
    expect(planGate(gate, nothing, timeout, 3)).toEqual([
      {
        id: 'gate-job',
        title: 'POST http://localhost/api/batch',
        request: { ...gate, timeoutSeconds: timeout },
      },
    ]);
  });

  test('with the form of a batch, twice', () => {
    const planned = planGate({ ...gate, batchForm: { links: 'a,b,c' } }, nothing, timeout, 3);
    expect(planned.map(({ id, request }) => [id, 'form' in request && request.form])).toEqual([
      ['gate-job', { links: 'a' }],
      ['gate-batch', { links: 'a,b,c' }],
    ]);
    expect(planned[1]?.request).not.toHaveProperty('batchForm');
  });

  test('no gate, no probes', () => {
    expect(planGate({ kind: 'none' }, nothing, timeout, 3)).toEqual([]);
  });
});
