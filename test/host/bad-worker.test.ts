import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { type BundleOptions, type BundleRun, runBundle } from '../lib/bundle.ts';
import { Clone } from './lib/clone.ts';
import { type Inputs, inputsFor } from './lib/inputs.ts';
import { completeJob, listTransactions, shell, show, UNIT_PATH } from './lib/worker.ts';

/* Releases that look well at first, and runs that are in each other's way. */

const CHECKOUT = '/root/slideshow';

let machine: Machine;
let clone: Clone;
/** What is deployed: the commit, and the unit's text. */
let good: string;
let unit: string;

beforeAll(async () => {
  machine = await startMachine({ name: 'bad-worker', state: 'healthy' });
  clone = await Clone.of(machine, CHECKOUT);
  good = clone.git('rev-parse', 'HEAD');
  const run = await deploy();
  expect(run.code, run.log).toBe(0);
  unit = await machine.readFile(UNIT_PATH);
});

afterAll(async () => {
  clone?.[Symbol.dispose]();
  await machine?.stop();
});

function deploy(inputs: Inputs = {}, options: BundleOptions = {}): Promise<BundleRun> {
  const asked = {
    'min-healthy-time': '2s',
    'confirm-within': 'off',
    'memory-max': '300M',
    'memory-high': 'off',
    source: 'git',
    ...inputs,
  };
  return runBundle('deploy-worker', inputsFor(machine, asked), {
    ...options,
    env: { GITHUB_WORKSPACE: clone.folder, GITHUB_SHA: clone.git('rev-parse', 'HEAD') },
  });
}

/** The app of a worker that does this in a thread once it is ready. */
function withThread(body: readonly string[]): string {
  return [
    clone.read('backend/celery_app.py'),
    'import os, sys, threading, time',
    'from celery import signals',
    'def misbehave(**_):',
    '    def run():',
    ...body.map((line) => `        ${line}`),
    '    threading.Thread(target=run, daemon=True).start()',
    'signals.worker_ready.connect(misbehave, weak=False)',
    '',
  ].join('\n');
}

async function expectGoodServes({ code, log }: BundleRun, reason: RegExp): Promise<void> {
  expect(code, log).toBe(1);
  expect(log.match(/^::error /gm)).toHaveLength(1);
  expect(log).toMatch(reason);
  expect(await machine.readFile(UNIT_PATH)).toBe(unit);
  expect(await shell(machine, `git -C ${CHECKOUT} rev-parse HEAD`)).toBe(good);
  expect(await show(machine, 'ActiveState', 'NeedDaemonReload')).toEqual({
    ActiveState: 'active',
    NeedDaemonReload: 'no',
  });
  await completeJob(machine);
}

test('a worker that dies 8 s after its start: back, and why', { timeout: 900_000 }, async () => {
  clone.commit('A lease that is lost', {
    'backend/celery_app.py': withThread([
      'time.sleep(8)',
      "print('LeaseError: the lease was lost', file=sys.stderr, flush=True)",
      'os._exit(3)',
    ]),
  });
  const run = await deploy({ 'min-healthy-time': '25s' });
  await expectGoodServes(
    run,
    /^deploy-worker: celery-worker\.service does not keep running: .*LeaseError: the lease was lost\.$/m,
  );
  clone.git('reset', '-q', '--hard', good);
});

test('a worker that leaks until MemoryMax: back, and why', {
  tags: ['nightly'],
  timeout: 900_000,
}, async () => {
  clone.commit('A leak', {
    'backend/celery_app.py': withThread([
      'held = []',
      'while True:',
      "    held.append(b'x' * 10_000_000)",
      '    time.sleep(0.05)',
    ]),
  });
  const run = await deploy({ 'min-healthy-time': '60s' });
  await expectGoodServes(
    run,
    /^deploy-worker: celery-worker\.service does not keep running: .*(?:out of memory|OOM killer).*\.$/m,
  );
  clone.git('reset', '-q', '--hard', good);
});

test('a unit that systemd rejects: said before the worker is stopped', async () => {
  const { MainPID } = await show(machine, 'MainPID');
  const theirs = unit.replace('[Service]\n', '[Service]\nCPUQuota=half\n');
  await machine.writeFile(UNIT_PATH, theirs);
  const run = await deploy({ 'restart-delay': '11s' });
  expect(run.code, run.log).toBe(1);
  expect(run.log).toMatch(/^deploy-worker: .*Invalid CPU quota 'half'.*\.$/m);
  expect((await show(machine, 'MainPID')).MainPID).toBe(MainPID);
  expect(await machine.readFile(UNIT_PATH)).toBe(theirs);
  await machine.writeFile(UNIT_PATH, unit);
});

test('two runs at once: one waits and names the other, both end right', {
  timeout: 900_000,
}, async () => {
  const known = await listTransactions(machine);
  let second: Promise<BundleRun> | undefined;
  const first = await deploy(
    { 'restart-delay': '11s', 'min-healthy-time': '15s' },
    {
      onLog: (text) => {
        if (/^\d+\/\d+ /m.test(text)) second ??= deploy({ 'restart-delay': '12s' });
      },
    },
  );
  expect(first.code, first.log).toBe(0);
  const other = await second;
  expect(other?.log).toMatch(/waiting for the lock of this host, held by https:\/\/forge\.test/);
  // It looked again once the first had ended: its plan was made from what that had left.
  expect(other?.code, other?.log).toBe(0);
  expect(await listTransactions(machine)).toHaveLength(known.length + 2);
  expect(await machine.readFile(UNIT_PATH)).toContain('RestartSec=12');
  await completeJob(machine);
});

test('an sshd that is restarted in the middle, with all its connections: no roll-back', {
  tags: ['nightly'],
  timeout: 900_000,
}, async () => {
  let bounced: Promise<unknown> | undefined;
  const run = await deploy(
    { 'restart-delay': '13s', 'min-healthy-time': '10s' },
    {
      onLog: (text) => {
        if (/^\d+\/\d+ (?:stop|drain) /m.test(text)) {
          bounced ??= shell(
            machine,
            "systemd-run -q --collect sh -c 'systemctl kill -s KILL --kill-whom=all ssh; for pid in $(pgrep -x sshd); do kill -KILL $pid; done; sleep 3; systemctl restart ssh'",
          ).catch(() => {});
        }
      },
    },
  );
  await bounced;
  expect(run.code, run.log).toBe(0);
  expect(run.log).toContain('connected again: following the work on the host');
  expect(run.log).toMatch(/^cost: 2 handshakes, 2 execs/m);
  expect(await machine.readFile(UNIT_PATH)).toContain('RestartSec=13');
  await completeJob(machine);
});
