import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { epochSeconds } from '../../../src/model/units.ts';
import { now, unitFact } from '../verify/facts.ts';
import { deployed, release, transaction } from './terminal-host.ts';
import { worker } from './worker-host.ts';

const words = ['deploy', '--verify', '--concurrency', '3', '--gate', 'none', '--database', 'none'];

const folder = mkdtempSync(join(tmpdir(), 'celeriac-gate-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, 'fleet.yml');

test.each([
  ['verify:\n  checks:\n    - name: board\n      comand: x\n', ':4:7', 'unknown key `comand`'],
  ['verify:\n  gate-done: ok\n  gate-failed: ok\n', ':2:14', 'in `gate-done` and in'],
])(
  'what verify would refuse stops the deploy before it begins: %j',
  async (text, place, problem) => {
    writeFileSync(file, text);
    const gate = ['--gate', 'http', '--gate-url', 'http://127.0.0.1/'];
    for (const more of [[], ['--dry-run']]) {
      const host = worker();
      const all = ['deploy', '--verify', ...gate, '--fleet-file', file, ...more];
      const { code, err } = await host.run(...all);
      expect([code, host.applied], err).toEqual([2, []]);
      expect(err).toContain(`${file}${place}`);
      expect(err).toContain(problem);
    }
  },
);

test('and so do flags', async () => {
  const host = worker();
  const { code, err } = await host.run('deploy', '--verify', '--gate', 'task');
  expect([code, host.applied], err).toEqual([2, []]);
  expect(err).toContain('`gate: task` needs `gate-task`');
});

/** The host went back by its timer while the release was verified. */
const undone = { ...deployed('celery-worker.service'), state: 'undone', undoneWhy: 'no verdict' };

test('a release that the host took back during the gate is back', async () => {
  const host = worker();
  host.apply = async () => {
    host.answers.releases = {
      releases: [release(0), release(1)],
      awaiting: { transactions: [transaction], deadline: epochSeconds(now + 500) },
      guarded: true,
    };
    return { transaction, result: 'committed', steps: [] };
  };
  host.confirm = async () => {
    host.answers.transactions = [undone];
    host.answers.releases = {
      releases: [release(0), { ...release(1), verdict: 'rolled-back' }],
      awaiting: null,
      guarded: true,
    };
    return false;
  };
  const { code, err, out } = await host.run(...words);
  expect(err).toContain('could no longer be confirmed');
  expect(out).toContain(`The host has already undone transaction ${transaction}; nothing is left`);
  expect([code, host.confirmed, host.undone]).toEqual([5, 1, []]);
});

test('a release that another run has replaced is left to the gate of that run', async () => {
  const host = worker();
  const own = { ...release(1), verdict: 'none' };
  host.apply = async () => {
    host.answers.releases = {
      releases: [release(0), own],
      awaiting: { transactions: [transaction], deadline: epochSeconds(now + 500) },
      guarded: true,
    };
    host.answers.transactions = [deployed('celery-worker.service')];
    return { transaction, result: 'committed', steps: [] };
  };
  host.confirm = async () => {
    const newer = { ...release(2), transaction: '20260118T110500-0002', verdict: 'none' };
    host.answers.releases = { releases: [release(0), own, newer], awaiting: null, guarded: true };
    return false;
  };
  const { code, err } = await host.run(...words);
  expect(err).toContain('was replaced by another run before it was confirmed');
  expect(err).toMatch(/was not rolled back: another release has replaced .*nothing was undone/);
  expect([code, host.confirmed, host.undone]).toEqual([1, 1, []]);
});

test('a release that cannot be rolled back is not called back', async () => {
  const host = worker();
  host.apply = async () => {
    host.answers.unit = unitFact({ activeState: 'failed' });
    host.answers.transactions = [];
    return { transaction, result: 'committed', steps: [] };
  };
  const { code, err } = await host.run(...words);
  expect([code, host.undone]).toEqual([1, []]);
  expect(err).toContain('could not be rolled back: unknown transaction');
});
