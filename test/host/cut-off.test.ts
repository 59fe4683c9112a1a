import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { type BundleOptions, type BundleRun, runBundle, runPostStep } from '../lib/bundle.ts';
import { beginHeldJob, installHeldJobs } from './lib/held-jobs.ts';
import { inputsFor, taskListLimits } from './lib/inputs.ts';
import { countLogins, watchLogins } from './lib/logins.ts';
import { listTransactions, readTransaction, shell, UNIT, waitUntil } from './lib/worker.ts';

type Child = Parameters<NonNullable<BundleOptions['onStart']>>[0];

const deployInputs = { ...taskListLimits, 'min-healthy-time': '2s', 'confirm-within': '30m' };

let machine: Machine;

beforeAll(async () => {
  machine = await startMachine({ name: 'cut-off', state: 'healthy' });
  await installHeldJobs(machine);
  await shell(machine, `systemctl restart ${UNIT}`);
  await watchLogins(machine);
});

afterAll(() => machine?.stop());

/** As GitHub's runner ends a step of a job that is cancelled. */
async function cancel(child: Child): Promise<void> {
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  for (const [signal, seconds] of [
    ['SIGINT', 7.5],
    ['SIGTERM', 2.5],
    ['SIGKILL', 0],
  ] as const) {
    child.kill(signal);
    await Promise.race([ended, wait(seconds * 1000)]);
    if (child.exitCode !== null || child.signalCode !== null) return;
  }
}

/** What the post step says after a run, by its labels; it costs one login, and changes nothing. */
async function afterwards(run: BundleRun): Promise<Readonly<Record<string, string>>> {
  const { result, logins } = await countLogins(machine, 'root', () =>
    runPostStep('deploy-worker', inputsFor(machine, deployInputs), run),
  );
  expect(result.code, result.log).toBe(0);
  expect(logins).toEqual({ accepted: 1, commands: 1, failed: 0 });
  expect(result.log).toContain('deploy-worker was interrupted before it could report');
  expect(result.log.match(/^::(?:warning|error)/gm)).toHaveLength(1);
  expect(result.summary).toContain('### deploy-worker was interrupted');
  const lines = result.log.match(/^ {2}\w+: .*$/gm) ?? [];
  return Object.fromEntries(lines.map((line) => line.trim().split(/: (.*)/) as [string, string]));
}

test('a deploy that is cancelled while it drains: what goes on, how it ended, what it awaits', async () => {
  const known = await listTransactions(machine);
  const { letGo } = await beginHeldJob(machine);
  let child: Child | undefined;
  let printed = '';
  let cancelled: Promise<void> | undefined;
  const run = await runBundle('deploy-worker', inputsFor(machine, deployInputs), {
    onStart: (started) => {
      child = started;
    },
    onLog: (text) => {
      printed += text;
      if (/: \d+ tasks? still running/.test(printed) && child !== undefined) {
        cancelled ??= cancel(child);
      }
    },
  });
  await cancelled;
  expect(run.code, run.log).toBeNull();
  const [own = '', ...others] = (await listTransactions(machine)).filter(
    (id) => !known.includes(id),
  );
  expect(others).toEqual([]);
  expect(JSON.parse(run.state.transactions ?? '')).toEqual([own]);

  const journal = async () => (await readTransaction(machine, own)).journal;
  const before = await journal();
  const at = await afterwards(run);
  expect(await journal()).toEqual(before);
  expect(at).toMatchObject({
    worker: 'active (running)',
    release: 'none of Celeriac',
    transaction: expect.stringMatching(
      new RegExp(
        `^${own} of .* is in progress, held by .*/runs/4711 \\(deploy-worker, .* until it is committed or undone$`,
      ),
    ),
    next: expect.stringMatching(
      /^nothing needs to be done on the host; to see how it ended: celeriac status /,
    ),
  });

  await letGo();
  await waitUntil('the deploy is committed', async () => {
    return (await journal()).at(-1)?.result === 'committed';
  });
  const after = await afterwards(run);
  expect(after).toMatchObject({
    worker: 'active (running)',
    release: expect.stringMatching(/^1 \(0123456789ab\) of .*: awaits its verdict$/),
    transaction: expect.stringMatching(/ is committed$/),
    verdict: expect.stringMatching(
      /awaits its verdict: unless verify confirms it by .* UTC, the host rolls it back by itself$/,
    ),
    next: expect.stringMatching(/to keep the release, run verify before that time$/),
  });
  const told = (await journal()).filter(({ event }) => event === 'told');
  expect(told).toEqual([]);
});
