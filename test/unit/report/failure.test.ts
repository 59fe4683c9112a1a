import { describe, expect, test } from 'vitest';
import { ConfigError, GateError, HostError } from '../../../src/model/errors.ts';
import type { Outcome, Step } from '../../../src/model/outcome.ts';
import { seconds } from '../../../src/model/units.ts';
import { outcomeToHostError, renderFailure } from '../../../src/report/failure.ts';

const context = { action: 'deploy-worker', host: '203.0.113.10' };

describe('an error of configuration', () => {
  test('in an input', () => {
    const error = new ConfigError('input threshold', 'invalid `threshold`: "30x"', '30m, 2h');
    expect(renderFailure(error, { action: 'cleanup' })).toEqual({
      message: `cleanup: invalid \`threshold\`: "30x".
  where: input threshold
  expected: 30m, 2h
  next: fix it and run again; nothing was changed on the host.`,
      annotation: {
        title: 'cleanup: invalid `threshold`: "30x"',
        message: 'input threshold: expected 30m, 2h.',
      },
    });
  });

  test('in a file: the annotation points at the line', () => {
    const error = new ConfigError('.github/fleet.yml:4:7', 'unknown key', 'host, user or port');
    expect(renderFailure(error, context).annotation).toEqual({
      title: 'deploy-worker: unknown key',
      message: '.github/fleet.yml:4:7: expected host, user or port.',
      file: '.github/fleet.yml',
      line: 4,
      column: 7,
    });
  });
});

describe('an error of the host', () => {
  const error = new HostError('celery-worker.service did not become ready within 60 s', {
    step: 'start celery-worker.service',
    ran: ['systemctl', 'start', "it's"],
    exitCode: 1,
    evidence: [
      'Traceback (most recent call last):',
      "ModuleNotFoundError: No module named 'tasks'",
    ],
    undone: ['unit restored', 'previous worker is serving again'],
    next: 'fix the import and merge again; the host needs nothing.',
  });

  test('says what failed, where, why, what was undone and what to do next', () => {
    expect(renderFailure(error, context)).toEqual({
      message: `deploy-worker: celery-worker.service did not become ready within 60 s.
  host: 203.0.113.10
  step: start celery-worker.service
  ran: systemctl start 'it'\\''s' (exit 1)
  evidence:
    Traceback (most recent call last):
    ModuleNotFoundError: No module named 'tasks'
  undone:
    unit restored
    previous worker is serving again
  next: fix the import and merge again; the host needs nothing.`,
      annotation: {
        title: 'deploy-worker: celery-worker.service did not become ready within 60 s',
        message:
          "start celery-worker.service. ModuleNotFoundError: No module named 'tasks'. Next: fix the import and merge again; the host needs nothing.",
      },
    });
  });

  test('what could not be undone is in the annotation, too', () => {
    const view = renderFailure(
      new HostError('x', {
        step: 's',
        exitCode: null,
        ran: ['a'],
        undone: [],
        left: ['/etc/fstab'],
        next: 'n',
      }),
      context,
    );
    expect(view.message).toBe(
      'deploy-worker: x.\n  host: 203.0.113.10\n  step: s\n  ran: a (no exit code)\n  not undone: /etc/fstab\n  next: n.',
    );
    expect(view.annotation.message).toBe('s. Not undone: /etc/fstab. Next: n.');
  });

  test('it says that nothing was changed only if that is known', () => {
    const undone = new HostError('x', { step: 's', undone: [], next: 'n' });
    expect(renderFailure(undone, context).message).toContain(
      'undone: nothing; no changes had been',
    );
    const unknown = new HostError('x', { step: 's', next: 'n' });
    expect(renderFailure(unknown, context).message).not.toContain('undone');
  });

  test('long evidence keeps its end', () => {
    const evidence = Array.from({ length: 100 }, (_, index) => `line ${index}`);
    const { message } = renderFailure(
      new HostError('x', { step: 's', evidence, next: 'n' }),
      context,
    );
    expect(message).toContain('… (60 earlier lines)\n    line 60\n');
    expect(message).toContain('    line 99\n  next: n');
    expect(message).not.toContain('line 59');
  });

  test('hostile evidence is text', () => {
    const hostile = '::error::x\n  ::add-mask::y\n##[group]\u001b[31m `$()` %n <script>';
    const { message, annotation } = renderFailure(
      new HostError(hostile, { step: hostile, evidence: [hostile], next: hostile }),
      { action: '::debug::', host: hostile },
    );
    for (const line of message.split('\n')) {
      expect(line.trim()).not.toMatch(/^::/);
      expect(line).not.toContain('##[');
      expect(line).not.toContain('\u001b');
    }
    expect(message).toContain('`$()` %n <script>');
    expect(annotation.title).not.toContain('\n');
    expect(annotation.message).not.toContain('\n');
  });
});

test('an error of the gate', () => {
  const error = new GateError(
    'rate-limit',
    '2 responses with status 429',
    ['"GET / HTTP/1.1" 429'],
    'wait',
  );
  expect(renderFailure(error, { action: 'verify' })).toEqual({
    message: `verify: 2 responses with status 429.
  check: rate-limit
  evidence: "GET / HTTP/1.1" 429
  next: wait.`,
    annotation: {
      title: 'verify: 2 responses with status 429',
      message: 'Check rate-limit failed. "GET / HTTP/1.1" 429. Next: wait.',
    },
  });
});

describe('an unknown error', () => {
  test('is a bug of Celeriac, and shows no stack', () => {
    const view = renderFailure(new TypeError("Cannot read 'x'\n    at y (file.js:1)"), context);
    expect(view.message).toBe(
      `deploy-worker: unexpected error: TypeError: Cannot read 'x' at y (file.js:1).
  host: 203.0.113.10
  next: this is a bug in Celeriac; please report it with this message.`,
    );
    expect(view.annotation.message).toContain('bug in Celeriac');
    expect(JSON.stringify(view)).not.toContain('failure.test.ts');
  });

  test('may be any thrown value', () => {
    expect(renderFailure('boom', { action: 'verify' }).message).toContain(
      'unexpected error: boom.',
    );
    expect(renderFailure(undefined, { action: 'verify' }).message).toContain(
      'unexpected error: undefined.',
    );
  });
});

describe('the error of a transaction', () => {
  const operations = [
    { op: 'install-unit', title: 'install the unit' },
    { op: 'enable-unit', title: 'enable the unit' },
    { op: 'start-unit', title: 'start the unit' },
  ] as const;
  const step = (index: number, status: Step['status'], message = ''): Step => ({
    index,
    op: operations[index]?.op ?? 'x',
    status,
    message,
    seconds: seconds(0),
  });
  const outcome = {
    transaction: 'T-1',
    result: 'undone',
    steps: [
      step(0, 'undone', 'the old unit file is back'),
      step(1, 'undone'),
      step(2, 'failed', 'not ready'),
    ],
    failure: {
      index: 2,
      message: 'it did not become ready',
      ran: ['systemctl'],
      exitCode: 1,
      evidence: ['e'],
    },
  } satisfies Outcome;

  test('undone: newest first', () => {
    const error = outcomeToHostError(outcome, operations);
    expect(error).toBeInstanceOf(HostError);
    expect(error.message).toBe('it did not become ready');
    expect(error.failure).toEqual({
      step: 'start the unit',
      ran: ['systemctl'],
      exitCode: 1,
      evidence: ['e'],
      undone: ['enable the unit', 'install the unit: the old unit file is back'],
      left: [],
      next: 'fix the cause shown in the evidence, then run again; nothing needs to be done on the host.',
    });
  });

  test('not undone: where the backups are', () => {
    const { failure } = outcomeToHostError(
      {
        ...outcome,
        result: 'undo-failed',
        steps: [step(0, 'not-undone', 'read-only file system')],
      },
      operations,
    );
    expect(failure.undone).toEqual([]);
    expect(failure.left).toEqual(['install the unit: read-only file system']);
    expect(failure.next).toContain('/var/lib/celeriac/transactions/T-1/backups');
  });

  test('not undone: no backups where no file was changed', () => {
    const left = { ...step(0, 'not-undone', 'it has commits of its own'), op: 'checkout-code' };
    const undone = { ...outcome, result: 'undo-failed' as const, steps: [left] };
    expect(outcomeToHostError(undone, operations).failure.next).toBe(
      'fix the steps listed under "not undone" by hand.',
    );
  });

  test('the broker that the worker waited for is named', () => {
    const lost = 'w.service does not serve: exit 1: Cannot connect to redis://db:6379/0: Error 111';
    const advice =
      'start the broker redis://db:6379/0, or correct the broker URL of the app: a worker that waits for it connects by itself';
    const left = { ...step(0, 'not-undone', lost), op: 'guard-unit' };
    const undone = { ...outcome, result: 'undo-failed' as const, steps: [left] };
    expect(outcomeToHostError(undone, operations).failure.next).toBe(
      `${advice}; then fix the steps listed under "not undone" by hand.`,
    );
    const failed = { ...outcome, failure: { index: 2, message: lost, evidence: [] } };
    expect(outcomeToHostError(failed, operations).failure.next).toBe(
      `${advice}, then run again; nothing needs to be done on the host.`,
    );
  });

  test('an app that was imported is not to be made importable', () => {
    const attempt = [{ op: 'try-app' as const, title: 'import the app' }];
    const failure = { index: 0, message: 'cannot reach the broker', evidence: ['start it'] };
    expect(outcomeToHostError({ ...outcome, failure }, attempt).failure.next).toBe(
      'do what the evidence says, then run again; nothing needs to be done on the host.',
    );
    const imported = { ...failure, ran: ['python3'] };
    expect(outcomeToHostError({ ...outcome, failure: imported }, attempt).failure.next).toContain(
      'can be imported',
    );
  });

  test('without a failing operation', () => {
    const error = outcomeToHostError(
      { transaction: 'T-1', result: 'undone', steps: [] },
      operations,
    );
    expect(error.message).toBe('the transaction did not finish');
    expect(error.failure.step).toBe('the transaction');
    expect(error.failure).not.toHaveProperty('ran');
  });

  test('of a committed transaction does not exist', () => {
    const committed: Outcome = { transaction: 'T-1', result: 'committed', steps: [] };
    expect(() => outcomeToHostError(committed, operations)).toThrow(RangeError);
  });
});
