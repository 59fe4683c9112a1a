import { expect, test } from 'vitest';
import type { TransactionFact } from '../../../src/model/facts.ts';
import { epochSeconds } from '../../../src/model/units.ts';
import { describePast } from '../../../src/plan/past.ts';

const deploy = {
  id: '20261122T131500-4f2a',
  action: 'deploy-worker',
  holder: 'a run',
  state: 'undone',
  startedAt: epochSeconds(1000),
  undoneBy: 'the host itself',
  undoneWhy: 'not confirmed within 15 min',
} as TransactionFact;

const cleanUp = (state: TransactionFact['state']): TransactionFact => ({
  ...deploy,
  id: '20261122T131600-5b3c',
  action: 'cleanup',
  state,
  startedAt: epochSeconds(2000),
});

const said = (...transactions: readonly TransactionFact[]): readonly string[] =>
  describePast(transactions).map(({ message }) => message);

test('a clean-up after a deploy does not hide that the host undid the deploy', () => {
  expect(said(deploy, cleanUp('committed'))).toEqual([
    expect.stringContaining('was undone by the host itself: not confirmed within 15 min'),
  ]);
});

test('a clean-up that did not end well is told of', () => {
  expect(said(deploy, cleanUp('undo-failed'))).toEqual([
    expect.stringMatching(/5b3c.*could not be undone completely/),
  ]);
});
