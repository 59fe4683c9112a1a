import { describe, expect, it } from 'vitest';
import { HostError } from '../../../src/model/errors.ts';
import type { Operation, Plan } from '../../../src/model/operation.ts';
import type { Outcome, Step, StepFailure, TransactionMeta } from '../../../src/model/outcome.ts';
import { seconds } from '../../../src/model/units.ts';
import type { Agent } from '../../../src/ports/agent.ts';
import { type About, carryOut } from '../../../src/use-case/carry-out.ts';
import { undoTransactions } from '../../../src/use-case/undo.ts';
import { RecordedRun } from './recorded-run.ts';

const operation: Operation = {
  op: 'enable-unit',
  unit: 'w.service',
  title: 'enable w.service',
  why: 'it is not',
};
const plan: Plan = { operations: [operation], satisfied: [], findings: [] };
const nothing: Plan = { operations: [], satisfied: ['w.service is enabled'], findings: [] };

const outcomeOf = (
  result: Outcome['result'],
  {
    steps = [],
    failure,
  }: { readonly steps?: readonly Step[]; readonly failure?: StepFailure } = {},
): Outcome => {
  const about = { transaction: '20260118T150000-4f2a', steps };
  if (result === 'committed') return { ...about, result };
  return { ...about, result, ...(failure !== undefined && { failure }) };
};

/** Writes what it is asked into the log of the run. */
function agentFor(run: RecordedRun, outcome: Outcome): Agent {
  return {
    send: async ({ title }: { readonly title: string }) => void run.log.push(`sent ${title}`),
    apply: async (operations: readonly Operation[], meta: TransactionMeta) => {
      run.log.push(`applied ${operations.length} for ${meta.unit ?? 'the host'}`);
      if (meta.release !== undefined) run.log.push('as a release');
      return outcome;
    },
    look: async () => ({ undoing: [] }),
    undo: async (transactions: readonly string[]) => {
      run.log.push(`undid ${transactions.join(', ')}`);
      return outcome;
    },
  } as unknown as Agent;
}

describe('carrying out a plan', () => {
  const about: About = {
    subject: 'w.service',
    unit: 'w.service',
    release: { confirmWithinSeconds: null },
    parcels: [
      { title: 'the bundle', sha256: 'a'.repeat(64), sizeBytes: 1, content: new Uint8Array(1) },
    ] as unknown as NonNullable<About['parcels']>,
    pause: { seconds: seconds(30), why: 'it may move' },
    tell: (outcome) => ({
      sentence: outcome === null ? '' : 'It was down for 1 s.',
      findings: [{ level: 'notice', message: 'a finding' }],
      outputs: { downtime: outcome === null ? '' : '1' },
    }),
  };

  it('shows it, waits, sends and applies it, and reports', async () => {
    const run = new RecordedRun();
    const outcome = outcomeOf('committed');
    expect(await carryOut(run, agentFor(run, outcome), plan, about)).toBe(outcome);
    expect(run.log).toEqual([
      'plan',
      'pause: it may move',
      'working on the host',
      'sent the bundle',
      'applied 1 for w.service',
      'as a release',
      'downtime=1',
      'changed=true',
      'transaction=20260118T150000-4f2a',
      'Done: 1 operation, transaction 20260118T150000-4f2a. It was down for 1 s.',
    ]);
    expect(run.results).toMatchObject([
      { subject: 'w.service', plan, outcome, findings: [{ message: 'a finding' }] },
    ]);
  });

  it('tells that it begins when all that the host needs is there, and not before', async () => {
    const run = new RecordedRun();
    const begin = () => void run.log.push('begun');
    await carryOut(run, agentFor(run, outcomeOf('committed')), plan, { ...about, begin });
    const at = run.log.indexOf('begun');
    expect(run.log.slice(at - 1, at + 2)).toEqual([
      'sent the bundle',
      'begun',
      'applied 1 for w.service',
    ]);
    const dry = new RecordedRun({ dryRun: true });
    const never = () => void dry.log.push('begun');
    await carryOut(dry, agentFor(dry, outcomeOf('committed')), plan, { ...about, begin: never });
    expect(dry.log).not.toContain('begun');
  });

  it.each([
    ['a dry run', new RecordedRun({ dryRun: true }), plan, 'Dry run: 1 operation planned'],
    ['a plan with nothing to do', new RecordedRun(), nothing, 'Nothing to do'],
  ])('%s sends nothing to the host', async (_, run, given, sentence) => {
    expect(await carryOut(run, agentFor(run, outcomeOf('committed')), given, about)).toBeNull();
    expect(run.log.slice(0, -1)).toEqual(['plan', 'downtime=', 'changed=false', 'transaction=']);
    expect(run.log.at(-1)).toContain(sentence);
  });

  it('an undone transaction is reported, and is an error', async () => {
    const run = new RecordedRun();
    const failure = { index: 0, message: 'the disk is full' };
    const agent = agentFor(run, outcomeOf('undone', { failure }));
    await expect(carryOut(run, agent, plan, { subject: null })).rejects.toThrow(HostError);
    expect(run.log).toContain('changed=false');
    expect(run.results).toHaveLength(1);
  });

  it('links the pages that findings name', async () => {
    const run = new RecordedRun();
    const message = 'a fault. See docs/reference/unit-rules/x.md';
    const given = { ...nothing, findings: [{ level: 'notice', message } as const] };
    await carryOut(run, agentFor(run, outcomeOf('committed')), given, about);
    expect(run.results[0]?.plan?.findings[0]?.message).toBe(
      'a fault. See https://example.com/docs/reference/unit-rules/x.md',
    );
  });

  it('gives programs the result of the run', async () => {
    const run = new RecordedRun();
    const agent = agentFor(run, outcomeOf('committed'));
    const data = (outcome: Outcome | null) => ({ result: outcome?.result });
    await carryOut(run, agent, plan, { subject: null, data });
    expect(run.results[0]?.data).toEqual({ result: 'committed' });
  });
});

describe('undoing transactions', () => {
  const undoing = {
    about: 'release 7',
    whole: 'the worker is as it was before',
    subject: 'w.service',
    unit: 'w.service',
    transactions: ['b', 'a'],
  };
  const step = (status: 'undone' | 'not-undone', message: string) => ({
    index: 0,
    op: 'enable-unit' as const,
    status,
    message,
    seconds: seconds(0),
  });

  it('undoes and reports', async () => {
    const run = new RecordedRun();
    const agent = agentFor(run, outcomeOf('undone', { steps: [step('undone', 'disabled')] }));
    await undoTransactions(run, agent, undoing);
    expect(run.log).toEqual([
      'transaction=',
      'the plan',
      'undoing release 7',
      'undid b, a',
      'changed=true',
      'Undone: release 7; the worker is as it was before.',
    ]);
    expect(run.results[0]?.checklist).toEqual([{ done: true, text: 'disabled', note: '' }]);
  });

  it('lists only what was undone, and what the steps say besides', async () => {
    const run = new RecordedRun();
    const done = { ...step('undone', 'the app imports'), status: 'done' as const };
    const steps = [done, step('undone', 'disabled')];
    const agent = agentFor(run, outcomeOf('undone', { steps }));
    const told = { level: 'notice', message: 'web keeps it' } as const;
    await undoTransactions(run, agent, { ...undoing, tell: () => [told] });
    expect(run.results[0]).toMatchObject({
      checklist: [{ done: true, text: 'disabled', note: '' }],
      findings: [told],
    });
  });

  it('does nothing in a dry run', async () => {
    const run = new RecordedRun({ dryRun: true });
    await undoTransactions(run, agentFor(run, outcomeOf('undone')), undoing);
    expect(run.log).toEqual([
      'transaction=',
      'the plan (dry run)',
      'changed=false',
      'Dry run: release 7 would be undone; nothing was changed.',
    ]);
  });

  it('does not say that all is as before when a part of it stays', async () => {
    const run = new RecordedRun();
    const left = '2 rows of /srv/jobs.db restored; skipped, changed since: jobs a1';
    const steps = [step('undone', left), step('undone', '/etc/x restored')];
    await undoTransactions(run, agentFor(run, outcomeOf('undone', { steps })), undoing);
    expect(run.log.at(-1)).toBe(`Undone: release 7; ${left}.`);
  });

  it('tells once that a refused undo changed nothing', async () => {
    const run = new RecordedRun();
    const refused = new HostError('another run holds the lock', { step: 'undo', next: 'wait' });
    const agent = { ...agentFor(run, outcomeOf('undone')), undo: () => Promise.reject(refused) };
    await expect(undoTransactions(run, agent as Agent, undoing)).rejects.toBe(refused);
    expect(run.log.filter((line) => line.startsWith('changed='))).toEqual(['changed=false']);
  });

  it('reports what could not be undone, and throws an error that names it', async () => {
    const run = new RecordedRun();
    const steps = [step('undone', 'disabled'), step('not-undone', 'the file changed')];
    const agent = agentFor(run, outcomeOf('undo-failed', { steps }));
    const error = await undoTransactions(run, agent, undoing).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(HostError);
    expect((error as HostError).failure).toMatchObject({
      undone: ['disabled'],
      left: ['the file changed'],
    });
    expect(run.results).toHaveLength(1);
  });
});
