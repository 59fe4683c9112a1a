import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../../src/model/errors.ts';
import type {
  LedgerRelease,
  ReleasesFact,
  TransactionFact,
} from '../../../src/model/facts/ledger.ts';
import { epochSeconds } from '../../../src/model/units.ts';
import { AnotherReleaseError, chooseRollBack } from '../../../src/plan/roll-back.ts';

const at = epochSeconds(1_768_734_123);

const release = (number: number, changes: Partial<LedgerRelease> = {}): LedgerRelease => ({
  release: number,
  transaction: number === 0 ? null : `2026011${number}T000000-000${number}`,
  at,
  holder: `https://example.org/run/${number}`,
  actor: 'somebody',
  sha: number === 0 ? '' : `${number}`.repeat(40),
  verdict: number === 0 ? 'none' : 'confirmed',
  why: '',
  state: number === 0 ? 'before' : 'proven',
  since: at,
  by: '',
  soakWhy: '',
  figures: null,
  gateFigures: null,
  kept: number !== 0,
  ...changes,
});
const ledger = (...releases: readonly LedgerRelease[]): ReleasesFact => ({
  releases,
  awaiting: null,
  guarded: false,
});
const id = (number: number) => release(number).transaction;

const transaction = (changes: Partial<TransactionFact> = {}): TransactionFact => ({
  id: '20260118T100000-0001',
  action: 'deploy-worker',
  holder: 'https://example.org/run/1',
  startedAt: at,
  state: 'committed',
  undoneBy: '',
  undoneWhy: '',
  ...changes,
});

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof ConfigError) return `${error.message}; expected ${error.expected}`;
  }
  throw new Error('expected a ConfigError');
}

describe('chooseRollBack', () => {
  const three = ledger(release(0), release(1), release(2, { verdict: 'rolled-back' }), release(3));

  it('goes back from the newest release that is in effect', () => {
    expect(chooseRollBack('previous', three, [])).toEqual({
      transactions: [id(3)],
      about: 'release 3 (3333333) of 2026-01-18 11:02:03 UTC',
      newest: id(3),
    });
    const rolled = ledger(release(0), release(1), release(2, { verdict: 'rolled-back' }));
    expect(chooseRollBack('previous', rolled, []).transactions).toEqual([id(1)]);
  });

  it('goes back to a given release: later ones are undone, newest first', () => {
    expect(chooseRollBack('0', three, []).transactions).toEqual([id(3), id(1)]);
    expect(chooseRollBack('1', three, []).transactions).toEqual([id(3)]);
  });

  it('undoes a transaction below others, unless it must be the newest', () => {
    const first = transaction({ id: id(1) ?? '' });
    const third = transaction({ id: id(3) ?? '' });
    expect(chooseRollBack(first.id, three, [first, third])).toMatchObject({
      transactions: [first.id],
      newest: null,
    });
    expect(chooseRollBack(`newest:${third.id}`, three, [first, third])).toMatchObject({
      transactions: [third.id],
      newest: third.id,
    });
    const choose = () => chooseRollBack(`newest:${first.id}`, three, [first, third]);
    expect(choose).toThrow(AnotherReleaseError);
    expect(refusal(choose)).toBe(
      `another release has replaced that of transaction ${id(1)}; nothing was undone; expected the newest release; the gate of https://example.org/run/3 decides about it`,
    );
  });

  it('has nothing to do for one that must no longer run and is undone', () => {
    const undone = transaction({ id: id(3) ?? '', state: 'undone' });
    const rolledBack = ledger(release(0), release(1), release(3, { verdict: 'rolled-back' }));
    expect(chooseRollBack(`newest:${undone.id}`, rolledBack, [undone]).transactions).toEqual([]);
    expect(refusal(() => chooseRollBack(undone.id, rolledBack, [undone]))).toContain(
      'is already undone',
    );
  });

  it('refuses unknown releases, and the current one', () => {
    expect(refusal(() => chooseRollBack('previous', ledger(), []))).toContain(
      'nothing was released on this host',
    );
    expect(refusal(() => chooseRollBack('9', three, []))).toBe(
      'release 9 does not exist; expected one of 0, 1, 3',
    );
    expect(refusal(() => chooseRollBack('2', three, []))).toContain('was itself rolled back');
    expect(refusal(() => chooseRollBack('3', three, []))).toContain(
      'is already running on the host',
    );
    const pruned = ledger(release(0), release(1, { kept: false }), release(2));
    expect(refusal(() => chooseRollBack('0', pruned, []))).toContain(
      'no longer keeps what it needs to undo release 1',
    );
  });

  it('undoes a transaction by its id', () => {
    const one = transaction();
    expect(chooseRollBack(one.id, ledger(), [one])).toEqual({
      transactions: [one.id],
      newest: null,
      about: `transaction ${one.id} of 2026-01-18 11:02:03 UTC (https://example.org/run/1)`,
    });
    expect(refusal(() => chooseRollBack('20200101T000000-aaaa', ledger(), [one]))).toContain(
      `expected one of ${one.id}`,
    );
    const undone = [transaction({ state: 'undone' })];
    expect(refusal(() => chooseRollBack(one.id, ledger(), undone))).toContain('is already undone');
  });
});
