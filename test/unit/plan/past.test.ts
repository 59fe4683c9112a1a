import { describe, expect, it } from 'vitest';
import type { PastFact, PastTransaction } from '../../../src/model/facts/ledger.ts';
import { epochSeconds, seconds } from '../../../src/model/units.ts';
import { describePast, describeSuperseded, describeUndoFailure } from '../../../src/plan/past.ts';

const at = epochSeconds(1_768_734_123);
const holder = 'https://example.org/run/1';

const transaction = (changes: Partial<PastTransaction> = {}): PastTransaction => ({
  id: '20260118T100000-0001',
  action: 'deploy-worker',
  holder,
  unit: 'worker.service',
  startedAt: at,
  state: 'committed',
  undoneBy: '',
  undoneWhy: '',
  ...changes,
});
const lapsed = (id: string) =>
  transaction({
    id,
    state: 'undone',
    undoneBy: 'the host itself',
    undoneWhy: 'not confirmed within 20 s',
  });
const waiting = {
  unit: 'worker.service',
  transactions: ['20260118T100000-0001'],
  deadline: at,
  withinSeconds: seconds(900),
};
const past = (changes: Partial<PastFact> = {}): PastFact => ({
  untold: [],
  open: [],
  working: null,
  awaiting: [],
  leftovers: [],
  notices: {},
  ...changes,
});
const told = (fact: PastFact, how: Parameters<typeof describePast>[1] = 'works') =>
  describePast(fact, how).map(({ level, message }) => `${level}: ${message}`);

describe('what the host did alone', () => {
  it('is told of every transaction, in the order that the host gives, with the reason', () => {
    const untold = [
      lapsed('20260118T100000-0002'),
      { ...lapsed('20260118T100000-0001'), unit: null, action: 'provision' },
    ];
    expect(told(past({ untold }))).toEqual([
      `warning: transaction 20260118T100000-0002 of 2026-01-18 11:02:03 UTC (deploy-worker of worker.service, by ${holder}) was undone by the host itself: not confirmed within 20 s`,
      `warning: transaction 20260118T100000-0001 of 2026-01-18 11:02:03 UTC (provision, by ${holder}) was undone by the host itself: not confirmed within 20 s`,
    ]);
  });

  it('is not called whole when it was not', () => {
    const untold = [{ ...lapsed('20260118T100000-0001'), state: 'undo-failed' as const }];
    expect(told(past({ untold }))).toEqual([
      expect.stringMatching(
        /by the host itself \(not confirmed within 20 s\), but not completely$/,
      ),
    ]);
  });
});

describe('a dry run', () => {
  it.each([
    [past({ open: [transaction({ state: 'open' })], working: 'ben' }), /^warning: .*in progress/],
    [past({ open: [transaction({ state: 'open' })] }), /^warning: .*did not finish/],
    [past({ awaiting: [waiting] }), /^notice: a release of worker\.service awaits its verdict/],
  ])('mentions what it does not wait for', (fact, expected) => {
    expect(told(fact, 'plans')).toEqual([expect.stringMatching(expected)]);
    // A run finishes it first, or confirms it, and says so then.
    expect(told(fact)).toEqual([]);
  });
});

describe('a verification', () => {
  it('tells what it sees the host in the middle of, and not what it is about to judge', () => {
    const untold = [lapsed('20260118T100000-0001')];
    const open = [transaction({ state: 'open' })];
    const seen = past({ untold, open, working: 'ben', awaiting: [waiting] });
    expect(told(seen, 'judges')).toEqual([
      expect.stringMatching(/was undone by the host itself: not confirmed within 20 s$/),
      expect.stringMatching(/in progress: this run sees the host in the middle of it$/),
    ]);
  });
});

describe('a release that was not verified yet', () => {
  it('is named by the next one of the same unit', () => {
    const other = { ...waiting, unit: 'other.service' };
    const fact = past({ awaiting: [other, waiting] });
    expect(describeSuperseded(fact, 'worker.service')).toEqual([
      {
        level: 'notice',
        message: expect.stringMatching(
          /^this release supersedes the one of transaction 20260118T100000-0001, .*within its 15 min yet/,
        ),
      },
    ]);
    expect(describeSuperseded(fact, 'third.service')).toEqual([]);
  });
});

describe('an undo that failed', () => {
  it('is repeated until another change was made', () => {
    const failed = transaction({ state: 'undo-failed' });
    expect(describeUndoFailure([])).toEqual([]);
    expect(describeUndoFailure([failed, transaction()])).toEqual([]);
    // A clean-up that was committed says nothing about the deploy before it.
    expect(describeUndoFailure([failed, transaction({ action: 'cleanup' })])).toHaveLength(1);
    // The last one is the newest, whatever the clock said.
    const earlier = transaction({ startedAt: epochSeconds(at + 900) });
    expect(describeUndoFailure([earlier, failed])).toEqual([
      { level: 'warning', message: expect.stringMatching(/could not be undone completely$/) },
    ]);
  });
});
