import { expect, test } from 'vitest';
import type { LedgerRelease, ReleasesFact } from '../../../src/model/facts/ledger.ts';
import { epochSeconds } from '../../../src/model/units.ts';
import { loggedSince, ranSince, releasedAt } from '../../../src/verify/released-at.ts';

const release = (
  number: number,
  verdict: LedgerRelease['verdict'] = 'confirmed',
): LedgerRelease => ({
  release: number,
  transaction: number === 0 ? null : `t${number}`,
  at: epochSeconds(1000 + number),
  holder: '',
  actor: '',
  sha: '',
  verdict,
  why: '',
  state: 'unproven',
  since: epochSeconds(1000 + number),
  by: '',
  soakWhy: '',
  figures: null,
  gateFigures: null,
  kept: true,
});

const ledger = (
  releases: readonly LedgerRelease[],
  awaiting: readonly string[] = [],
): ReleasesFact => ({
  releases,
  awaiting: awaiting.length === 0 ? null : { transactions: awaiting, deadline: epochSeconds(9999) },
  guarded: awaiting.length > 0,
});

test.each<[what: string, fact: ReleasesFact, at: number | null]>([
  ['no ledger', ledger([]), null],
  ['only the state before the first release', ledger([release(0, 'none')]), null],
  ['the newest', ledger([release(0, 'none'), release(1), release(2)]), 1002],
  ['a rollback came after it', ledger([release(1), release(2, 'rolled-back')]), 1001],
  [
    'the oldest of those that await their verdict together',
    ledger([release(1), release(2, 'none'), release(3, 'none')], ['t3', 't2']),
    1002,
  ],
])('%s', (_, fact, at) => {
  expect(releasedAt(fact)).toBe(at);
});

test.each<[what: string, fact: ReleasesFact, started: number | null, since: number | null]>([
  ['no ledger: the present start', ledger([]), 900, 900],
  ['the start that became the release', ledger([release(1)]), 990, 990],
  ['a later start, such as after a crash', ledger([release(1)]), 1500, 1001],
  [
    'after a rollback, the start that it made',
    ledger([release(1), release(2, 'rolled-back')]),
    1500,
    1500,
  ],
  ['a rollback before it', ledger([release(1, 'rolled-back'), release(2)]), 1500, 1002],
  ['a unit that never ran', ledger([release(1)]), null, 1001],
])('the log begins with %s', (_, fact, started, since) => {
  expect(loggedSince(fact, started === null ? null : epochSeconds(started))).toBe(since);
});

test.each<[what: string, releases: readonly LedgerRelease[], since: number]>([
  ['its start, not its confirmation', [release(1), release(2)], 1001],
  ['the rollback of a later one', [release(1), release(2, 'rolled-back')], 1300],
  ['its start after the rollback of an earlier one', [release(0, 'rolled-back'), release(1)], 1001],
])('a release has run alone since %s', (_, releases, since) => {
  const confirmed = releases.map((each) => ({ ...each, since: epochSeconds(1300) }));
  const own = confirmed.find((each) => each.release === 1) as LedgerRelease;
  expect(ranSince(own, confirmed)).toBe(since);
});
