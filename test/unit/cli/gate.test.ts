import { expect, test } from 'vitest';
import { epochSeconds } from '../../../src/model/units.ts';
import { now, unitFact } from '../verify/facts.ts';
import { deployed, release, transaction } from './terminal-host.ts';
import { worker } from './worker-host.ts';

const words = ['deploy', '--verify', '--concurrency', '3', '--gate', 'none', '--database', 'none'];

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
    return false;
  };
  const { code, err } = await host.run(...words);
  expect(err).toContain('could no longer be confirmed');
  expect(err).toContain(`transaction ${transaction} is already undone; nothing is left`);
  expect([code, host.confirmed, host.undone]).toEqual([5, 1, []]);
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
