import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type BundleRun, runBundle } from '../lib/bundle.ts';
import { BadReleases } from './lib/bad-releases.ts';
import { beginHeldJob } from './lib/held-jobs.ts';
import { inputsFor } from './lib/inputs.ts';
import { completeJob, listTransactions, shell, show, UNIT_PATH, waitUntil } from './lib/worker.ts';

/* Releases that look well at first, and runs that are in each other's way. */

let releases: BadReleases;

beforeAll(async () => {
  releases = await BadReleases.start('bad-worker');
});

beforeEach(() => releases.reset());

afterAll(() => releases?.[Symbol.asyncDispose]());

test('a worker that dies during its proof: the old one is restored, with the reason', {
  tags: ['nightly'],
}, async () => {
  const { machine } = releases;
  releases.commitThread('A lease that is lost', [
    "while not os.path.exists('/run/lease-is-over'): time.sleep(0.1)",
    "print('LeaseError: the lease was lost', file=sys.stderr, flush=True)",
    'os._exit(3)',
  ]);
  let over: Promise<unknown> | undefined;
  const run = await releases.deploy(
    { 'min-healthy-time': '600s' },
    {
      onLog: (text) => {
        if (/: stable, \d+ s to go/.test(text)) over ??= shell(machine, 'touch /run/lease-is-over');
      },
    },
  );
  await over;
  await releases.expectGoodServes(
    run,
    /^deploy-worker: celery-worker\.service did not keep running: .*LeaseError: the lease was lost\.$/m,
  );
});

test('a unit that systemd rejects: reported before the worker is stopped', async () => {
  const { machine, unit } = releases;
  const { MainPID } = await show(machine, 'MainPID');
  const theirs = unit.replace('[Service]\n', '[Service]\nCPUQuota=half\n');
  await machine.writeFile(UNIT_PATH, theirs);
  const run = await releases.deploy({ 'restart-delay': '11s' });
  expect(run.code, run.log).toBe(1);
  expect(run.log).toMatch(/^deploy-worker: .*Invalid CPU quota 'half'.*\.$/m);
  expect((await show(machine, 'MainPID')).MainPID).toBe(MainPID);
  expect(await machine.readFile(UNIT_PATH)).toBe(theirs);
});

test('a broker that is down: the worker that waits for it is not stopped', async () => {
  const { machine } = releases;
  const { MainPID } = await show(machine, 'MainPID');
  await machine.run('systemctl stop redis-server');
  const run = await releases.deploy({ 'restart-delay': '11s' });
  await machine.run('systemctl start redis-server');
  await releases.expectGoodServes(
    run,
    /^deploy-worker: cannot reach the broker redis:\/\/.*refused.*: a worker becomes ready only/m,
  );
  expect(run.log).toContain('start the broker, or correct the broker URL of the app');
  expect((await show(machine, 'MainPID')).MainPID).toBe(MainPID);
});

test('a broker whose URL was wrong: the deploy with the right one is not refused', {
  tags: ['nightly'],
}, async () => {
  const { machine } = releases;
  const { MainPID } = await show(machine, 'MainPID');
  await machine.run('systemctl stop redis-server');
  await machine.run(
    'systemd-run --quiet --unit=other-redis redis-server --port 6380 --save "" --dir /tmp',
  );
  const folder = `/etc/systemd/system/celery-worker.service.d`;
  await machine.run(`mkdir -p ${folder}`);
  await machine.writeFile(
    `${folder}/broker.conf`,
    '[Service]\nEnvironment=SLIDESHOW_BROKER=redis://127.0.0.1:6380/0\n',
  );
  const run = await releases.deploy({ 'restart-delay': '11s' });
  expect(run.code, run.log).toBe(0);
  expect((await show(machine, 'MainPID')).MainPID).not.toBe(MainPID);
});

test('a checkout that was moved by hand: a warning with both commits', {
  tags: ['nightly'],
}, async () => {
  const { machine } = releases;
  const inputs = inputsFor(machine, { gate: 'none', database: 'none' });
  const git = (words: string) => shell(machine, `git -C /root/slideshow ${words}`);
  releases.commitThread('A thread', ['pass']);
  expect((await releases.deploy()).code).toBe(0);
  const commit = await git('rev-parse HEAD');
  expect((await runBundle('verify', inputs)).log).toContain('/root/slideshow is as released');
  await git('-c user.name=x -c user.email=x@x commit -q --allow-empty -m hotfix');
  const moved = await git('rev-parse HEAD');
  expect((await runBundle('verify', inputs)).log).toContain(
    `/root/slideshow is at ${moved.slice(0, 12)}, not at ${commit.slice(0, 12)} of the release`,
  );
});

test('two runs at once: one waits and names the other, both succeed', {
  tags: ['nightly'],
}, async () => {
  const { machine } = releases;
  const known = await listTransactions(machine);
  // The first waits for its task, which is let go once the second waits for the first.
  const { letGo } = await beginHeldJob(machine);
  let letGone: Promise<void> | undefined;
  let second: Promise<BundleRun> | undefined;
  let saidBySecond = '';
  const startSecond = () =>
    releases.deploy(
      { 'restart-delay': '12s' },
      {
        onLog: (text) => {
          saidBySecond += text;
          if (saidBySecond.includes('waiting for the lock of this host')) letGone ??= letGo();
        },
      },
    );
  const first = await releases.deploy(
    { 'restart-delay': '11s' },
    {
      onLog: (text) => {
        if (/: 1 task still running/.test(text)) second ??= startSecond();
      },
    },
  );
  await letGone;
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
}, async () => {
  const { machine } = releases;
  // The work goes on until the run is connected again.
  const { letGo } = await beginHeldJob(machine);
  let bounced: Promise<unknown> | undefined;
  let letGone: Promise<void> | undefined;
  let log = '';
  const run = await releases.deploy(
    { 'restart-delay': '13s' },
    {
      onLog: (text) => {
        log += text;
        if (log.includes('1 task still running')) {
          bounced ??= shell(
            machine,
            "systemd-run -q --collect sh -c 'systemctl kill -s KILL --kill-whom=all ssh; for pid in $(pgrep -x sshd); do kill -KILL $pid; done; sleep 3; systemctl restart ssh'",
          ).catch(() => {});
        }
        if (log.includes('reconnected: following')) {
          // The test's own connection was cut, too.
          letGone ??= waitUntil('the task is let go', () =>
            letGo().then(
              () => true,
              () => false,
            ),
          );
        }
      },
    },
  );
  await Promise.all([bounced, letGone]);
  expect(run.code, run.log).toBe(0);
  expect(run.log).toContain('reconnected: following the transaction on the host');
  expect(run.log).toMatch(/^cost: 2 handshakes, 2 execs/m);
  expect(await machine.readFile(UNIT_PATH)).toContain('RestartSec=13');
  await completeJob(machine);
});
