import { describe, expect, it } from 'vitest';
import type { PastFact, PastTransaction, ReleasesFact } from '../../../src/model/facts/ledger.ts';
import { epochSeconds, seconds } from '../../../src/model/units.ts';
import {
  describeInterrupted,
  describeUnseen,
  type HostAfter,
  type InterruptedRun,
} from '../../../src/report/interrupted.ts';

const at = epochSeconds(1_800_000_000);
const holder = 'https://forge.test/someone/slideshow/actions/runs/4711';
const unit = 'celery-worker.service';
const own = '20270115T080000-4f2a';

const run: InterruptedRun = {
  action: 'deploy-worker',
  host: 'vps.example.com',
  port: 22,
  user: 'root',
  unit,
  holder,
  began: at,
  transactions: [own],
};
const transaction = (changes: Partial<PastTransaction> = {}): PastTransaction => ({
  id: own,
  action: 'deploy-worker',
  holder,
  unit,
  startedAt: at,
  state: 'open',
  undoneBy: '',
  undoneWhy: '',
  ...changes,
});
const past = (changes: Partial<PastFact> = {}): PastFact => ({
  untold: [],
  open: [],
  working: null,
  awaiting: [],
  leftovers: [],
  notices: {},
  ...changes,
});
const releases = (guarded = true): ReleasesFact => ({
  releases: [
    {
      release: 7,
      transaction: '20270101T000000-0007',
      at,
      holder,
      actor: 'nika',
      sha: '3f2c9e1b7a6d4f2a',
      verdict: 'confirmed',
      why: '',
      state: 'proven',
      since: at,
      by: holder,
      soakWhy: '',
      figures: null,
      gateFigures: null,
      kept: true,
    },
  ],
  awaiting: null,
  guarded,
});
const host = (changes: Partial<HostAfter> = {}): HostAfter => ({
  past: past(),
  transactions: [],
  releases: releases(),
  worker: 'active (running)',
  clockSkew: null,
  ...changes,
});
const waiting = {
  unit,
  transactions: [own],
  deadline: epochSeconds(at + 900),
  withinSeconds: seconds(900),
};
const linesOf = (
  after: HostAfter,
  about: Partial<InterruptedRun> = {},
): Readonly<Record<string, string>> => {
  const [, ...lines] = describeInterrupted({ ...run, ...about }, after).message.split('\n');
  return Object.fromEntries(
    lines.map((line) => {
      const [, label = '', text = ''] = /^ {2}(\w+): (.*)$/.exec(line) ?? [];
      return [label, text];
    }),
  );
};

describe('a run that was cut off', () => {
  it('is at work on the host: it goes on there, and the old release is named', () => {
    const working = `${holder} (deploy-worker, since 2027-01-15T08:00:00Z, pid 4)`;
    const after = host({
      past: past({ open: [transaction()], working }),
      transactions: [transaction()],
    });
    expect(describeInterrupted(run, after).message).toBe(
      [
        'deploy-worker was interrupted before it could report; the state of vps.example.com after it:',
        '  worker: active (running)',
        '  release: 7 (3f2c9e1b7a6d) of 2027-01-15 08:00:00 UTC by nika: proven',
        `  transaction: ${own} of 2027-01-15 08:00:00 UTC (deploy-worker) is in progress, held by ${working}; it continues on the host, without this run, until it is committed or undone`,
        `  next: nothing needs to be done on the host; to see how it ended: celeriac status --host vps.example.com --unit ${unit}`,
      ].join('\n'),
    );
  });

  it('was interrupted on the host, too: the guard undoes it', () => {
    const after = host({ past: past({ open: [transaction()] }), transactions: [transaction()] });
    expect(linesOf(after).transaction).toContain(
      'the host begins to undo it by itself within 30 s',
    );
    const off = linesOf({ ...after, releases: releases(false) });
    expect(off.guard).toContain('is off');
    expect(off.transaction).toMatch(/; nothing undoes it until the workflow runs again$/);
    expect(Object.values(off).join()).not.toContain('by itself');
    const unknown = linesOf({ ...after, releases: null, worker: null }, { unit: null });
    expect(unknown.transaction).toMatch(
      /by itself within 30 s if celeriac-guard\.timer is enabled there$/,
    );
    expect(off.next).toContain('run the workflow again');
  });

  it('is committed and awaits its verdict: by when, and what keeps it', () => {
    const committed = transaction({ state: 'committed' });
    const told = linesOf(host({ past: past({ awaiting: [waiting] }), transactions: [committed] }));
    expect(told.transaction).toMatch(/is committed$/);
    expect(told.verdict).toBe(
      `the release of ${unit} (transaction ${own}) awaits its verdict: unless verify confirms it by 2027-01-15 08:15:00 UTC, the host rolls it back by itself`,
    );
    expect(told.next).toContain('to keep the release, run verify before that time');
    const after = host({ past: past({ awaiting: [waiting] }), transactions: [committed] });
    const off = linesOf({ ...after, releases: releases(false) });
    expect(off.verdict).toMatch(/, which nothing does until the workflow runs again$/);
    expect(Object.values(off).join()).not.toContain('by itself');
  });

  it('tells nothing of the verdict of another worker', () => {
    const other = { ...waiting, unit: 'other.service' };
    expect(linesOf(host({ past: past({ awaiting: [other] }) }))).not.toHaveProperty('verdict');
  });

  it('was undone: by whom and why; not completely: what to do', () => {
    const undone = transaction({
      state: 'undone',
      undoneBy: 'the host itself',
      undoneWhy: 'not confirmed within 15 min',
    });
    expect(linesOf(host({ transactions: [undone] })).transaction).toMatch(
      /was undone by the host itself: not confirmed within 15 min$/,
    );
    const left = transaction({ state: 'undo-failed' });
    expect(linesOf(host({ transactions: [left] }))).toMatchObject({
      transaction: expect.stringMatching(/was undone, but not completely$/),
      next: expect.stringMatching(/^fix by hand .*: celeriac status /),
    });
  });

  it('had begun without seeing it: what the host has of this run counts', () => {
    const seen = [
      transaction({ id: 'a', holder: 'somebody else' }),
      transaction({ id: 'b', unit: 'other.service' }),
      transaction({ id: 'c', action: 'cleanup' }),
    ];
    const about = { transactions: [] };
    expect(linesOf(host({ transactions: seen }), about).transaction).toBe(
      'none of this run, so it changed nothing there',
    );
    const mine = [...seen, transaction({ id: 'd', state: 'committed' })];
    expect(linesOf(host({ transactions: mine }), about).transaction).toMatch(/^d of .* committed$/);
  });

  it('does not call an earlier attempt or step of the same run its own', () => {
    const about = { transactions: [] };
    const mine = (startedAt: number, ahead: number | null) => {
      const each = transaction({ state: 'committed', startedAt: epochSeconds(startedAt) });
      const clockSkew = ahead === null ? null : { ahead: seconds(ahead), within: seconds(0.5) };
      return linesOf(host({ transactions: [each], clockSkew }), about).transaction;
    };
    const none = 'none of this run, so it changed nothing there';
    expect(mine(at - 30, null)).toBe(none);
    expect(mine(at + 1, null)).toMatch(/is committed$/);
    // The host's clock is a minute ahead, or behind.
    expect(mine(at + 30, 60)).toBe(none);
    expect(mine(at + 61, 60)).toMatch(/is committed$/);
    expect(mine(at - 59, -60)).toMatch(/is committed$/);
  });

  it('may have begun to undo what an earlier one had left: then it claims nothing', () => {
    const about = { transactions: [] };
    const other = transaction({ id: 'b', holder: 'somebody else' });
    const none = 'none of this run';
    const working = `${holder} (deploy-worker, since 2027-01-15T08:00:00Z, pid 4)`;
    const atWork = host({ past: past({ open: [other], working }), transactions: [other] });
    expect(linesOf(atWork, about).transaction).toBe(none);
    const left = host({ past: past({ open: [other] }), transactions: [other] });
    expect(linesOf(left, about).transaction).toBe(none);
    const undone = { ...other, state: 'undone', undoneBy: holder } as const;
    expect(linesOf(host({ transactions: [undone] }), about).transaction).toBe(none);
    const byAnother = { ...undone, undoneBy: 'the host itself' };
    expect(linesOf(host({ transactions: [byAnother] }), about).transaction).toContain(none);
    expect(linesOf(host({ transactions: [byAnother] }), about).transaction).toMatch(
      /nothing there$/,
    );
  });

  it('does not call another run its own, and names it', () => {
    const other = transaction({ id: 'b', holder: 'somebody else', action: 'cleanup' });
    const after = host({
      past: past({ open: [other], working: 'somebody else' }),
      transactions: [other],
    });
    expect(linesOf(after, { transactions: [] })).toMatchObject({
      transaction: 'none of this run, so it changed nothing there',
      also: expect.stringContaining('b of 2027-01-15 08:00:00 UTC (cleanup) is in progress'),
    });
    // Its journal is gone.
    expect(linesOf(after).transaction).toBe(`${own} is no longer on record`);
  });

  it('was a verify: it has no transaction of its own', () => {
    const about = { action: 'verify', transactions: [] };
    expect(linesOf(host({ past: past({ awaiting: [waiting] }) }), about)).not.toHaveProperty(
      'transaction',
    );
  });

  it('was about no worker', () => {
    const provision = transaction({ action: 'provision', unit: null });
    const after = host({
      past: past({ open: [provision], working: holder }),
      transactions: [provision],
      releases: null,
      worker: null,
    });
    const told = linesOf(after, { action: 'provision', unit: null, port: 2222, user: 'deploy' });
    expect(Object.keys(told)).toEqual(['transaction', 'next']);
    expect(told.next).toMatch(
      /: celeriac status --host vps\.example\.com --port 2222 --user deploy$/,
    );
  });
});

describe('a host that cannot be reached', () => {
  it('is not known; what it does by itself is', () => {
    const { message, annotation, markdown } = describeUnseen(
      run,
      'connect ECONNREFUSED\n::error::x',
    );
    expect(message).toContain('the state of vps.example.com is unknown');
    expect(message).toContain(`transaction ${own} had begun: it continues on the host`);
    expect(message).toContain('undo it by itself within 30 s, also after a reboot');
    expect(message).toContain('only while celeriac-guard.timer is enabled there');
    expect(message).toContain('  why: connect ECONNREFUSED ::error::x');
    expect(annotation).not.toContain('\n');
    expect(markdown).toContain('`celeriac status --host vps.example.com');
    expect(describeUnseen({ ...run, transactions: [] }, 'x').message).toContain(
      'if the host had begun to change anything',
    );
  });
});

it('is Markdown that nobody on the host has written', () => {
  const evil = transaction({ state: 'undone', undoneWhy: '<img src=x> **@someone**\n::error::x' });
  const { message, markdown } = describeInterrupted(run, host({ transactions: [evil] }));
  expect(markdown).not.toContain('<img');
  expect(markdown).not.toContain('**@someone**');
  expect(message.split('\n').filter((line) => line.startsWith('::'))).toEqual([]);
});
