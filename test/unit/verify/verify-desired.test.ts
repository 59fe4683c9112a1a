import { describe, expect, test } from 'vitest';
import { readInputs } from '../../../src/config/read-inputs.ts';
import { readVerifyDesired } from '../../../src/config/verify-desired.ts';
import { verifyInputs } from '../../../src/config/verify-inputs.ts';
import { ConfigError } from '../../../src/model/errors.ts';
import { verifyDefaults } from './facts.ts';

const required: Record<string, string> = {
  host: 'vps.example',
  'ssh-key': 'key',
  'known-hosts': 'vps.example ssh-ed25519 AAAA',
};

const read = (given: Record<string, string> = {}) =>
  readVerifyDesired(
    readInputs(verifyInputs, (name) => given[name] ?? required[name] ?? '', new Map()),
  );

describe('the inputs of verify', () => {
  test('alone are the defaults', () => {
    expect(read()).toEqual(verifyDefaults);
  });

  test('all of them', () => {
    expect(
      read({
        unit: 'w.service',
        'gate-timeout': '3m',
        'http-probes': 'http://127.0.0.1/api/health',
        checks: '- { name: board, url: "http://127.0.0.1:5555/" }',
        'swap-size': '2G',
        concurrency: '1',
        'memory-max': '800M',
        'memory-high': '600M',
        'max-429': '5',
        'gate-batch': '5',
        'memory-return': '100M',
        'rate-limit-max': '2',
        'max-errors': '0',
        'max-restarts': '2',
        database: '/srv/app.db',
        threshold: '1h',
        'dry-run': 'true',
      }),
    ).toEqual({
      unit: 'w.service',
      gate: { kind: 'canary' },
      gateBatch: 5,
      gateTimeoutSeconds: 180,
      probes: [{ url: 'http://127.0.0.1/api/health', timeoutSeconds: 10 }],
      ownChecks: [
        {
          name: 'board',
          kind: 'url',
          url: 'http://127.0.0.1:5555/',
          status: null,
          contains: null,
          timeoutSeconds: 30,
        },
      ],
      swapBytes: 2 * 1024 ** 3,
      concurrency: 1,
      memoryMaxBytes: 800 * 1024 ** 2,
      memoryHighBytes: 600 * 1024 ** 2,
      max429: 5,
      memoryReturnBytes: 100 * 1024 ** 2,
      rateLimitMax: 2,
      maxErrors: 0,
      maxRestarts: 2,
      databases: ['/srv/app.db'],
      thresholdSeconds: 3600,
      dryRun: true,
    });
  });

  test('how what a probe made is removed, or marked', () => {
    const http = { gate: 'http', 'gate-url': 'http://127.0.0.1/api/batch' };
    const url = 'http://127.0.0.1/api/batch/{batch_id}';
    expect(read({ ...http, 'gate-clean-url': url }).gate).toMatchObject({
      clean: { method: 'DELETE', url, form: {} },
    });
    const mark = { 'gate-clean-method': 'POST', 'gate-clean-form': 'mark=test' };
    expect(read({ ...http, 'gate-clean-url': url, ...mark }).gate).toMatchObject({
      clean: { method: 'POST', form: { mark: 'test' } },
    });
    expect(read(http).gate).not.toHaveProperty('clean');
    const task = { gate: 'task', 'gate-task': 'tasks.x' };
    const own = 'http://127.0.0.1/api/jobs/{task_id}';
    expect(read({ ...task, 'gate-clean-url': own }).gate).toMatchObject({ clean: { url: own } });
    expect(() => read({ ...task, 'gate-clean-url': url })).toThrow('a task has only its id');
    const all = { 'gate-clean-url': 'http://127.0.0.1/api/batches' };
    for (const gate of [http, task]) {
      expect(() => read({ ...gate, ...all })).toThrow('it is the same for each probe');
    }
  });

  test('the gates', () => {
    expect(read({ gate: 'none' }).gate).toEqual({ kind: 'none' });
    expect(read({ gate: 'task', 'gate-task': 'tasks.x', 'gate-args': '["a"]' }).gate).toEqual({
      kind: 'task',
      task: 'tasks.x',
      queue: null,
      args: ['a'],
    });
    expect(
      read({ gate: 'http', 'gate-url': 'http://127.0.0.1/x', 'gate-form': 'a=b=c' }).gate,
    ).toEqual({
      kind: 'http',
      method: 'POST',
      url: 'http://127.0.0.1/x',
      form: { a: 'b=c' },
      pollUrl: null,
      field: 'status',
      done: ['completed'],
      failed: ['failed', 'cancelled'],
    });
  });

  test.each([
    ['task', 'gate-task'],
    ['http', 'gate-url'],
  ])('gate %s without %s is an error that names it', (gate, name) => {
    expect(() => read({ gate })).toThrow(ConfigError);
    expect(() => read({ gate })).toThrow(name);
  });
});
