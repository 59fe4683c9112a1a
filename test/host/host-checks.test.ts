import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { MiB } from '../../src/model/units.ts';
import type { Check } from '../../src/model/verdict.ts';
import { type BundleOptions, runBundle } from '../lib/bundle.ts';
import { makeTemporaryFolder } from '../lib/temporary.ts';
import { type Inputs, inputsFor, taskListLimits } from './lib/inputs.ts';
import { BACKEND, DATABASE, shell, show, UNIT, waitUntil } from './lib/worker.ts';

const dropIns = `/etc/systemd/system/${UNIT}.d`;

let machine: Machine;

beforeAll(async () => {
  machine = await startMachine({ name: 'host-checks', state: 'healthy' });
  const deploy = await runBundle(
    'deploy-worker',
    inputsFor(machine, { ...taskListLimits, 'min-healthy-time': '1s', 'confirm-within': 'off' }),
  );
  expect(deploy.code, deploy.log).toBe(0);
});

/** What was broken is mended again, and nothing of it is left. */
afterEach(async () => {
  await shell(
    machine,
    `systemctl -q enable ${UNIT}
    pkill -CONT -P "$(systemctl show -P MainPID ${UNIT})" || true
    rm -rf ${dropIns}
    for point in ${BACKEND}/uploads /proc/swaps /usr/bin/systemd-detect-virt; do
      ! mountpoint -q $point || umount $point
    done
    systemctl daemon-reload`,
  );
  expect((await verify()).failed).toEqual([]);
});

afterAll(() => machine?.stop());

/** Without probes, which need half a minute: what is checked here, they do not change. */
async function verify(options: BundleOptions = {}, inputs: Inputs = {}) {
  const asked = inputsFor(machine, { gate: 'none', ...inputs });
  const run = await runBundle('verify', asked, options);
  const checks = JSON.parse(run.outputs.checks ?? '[]') as readonly Check[];
  expect(checks, run.log).not.toEqual([]);
  const failed = checks.filter(({ verdict }) => verdict === 'fail');
  expect(run.code === 0).toBe(failed.length === 0);
  return {
    run,
    failed: failed.map(({ id }) => id),
    checks,
    find: (id: string) => checks.find((check) => check.id === id),
  };
}

test('a healthy worker passes, with what systemd says of its watchdog and its run', async () => {
  const { find } = await verify();
  const { InvocationID } = await show(machine, 'InvocationID');
  expect(find('enabled')).toMatchObject({ verdict: 'pass', seen: 'enabled' });
  expect(find('invocation')?.seen).toContain(`run ${InvocationID.slice(0, 8)} since `);
  expect(find('watchdog')).toMatchObject({
    verdict: 'pass',
    seen: expect.stringMatching(/^fed .* ago; its limit is 5 min$/),
  });
  expect(find('progress')?.verdict).toBe('pass');
  expect(find('settings')).toMatchObject({
    verdict: 'pass',
    seen: expect.stringMatching(/^\d+ properties as in release 20\d+T\d+-[0-9a-f]+$/),
  });
  expect(find('disk')).toMatchObject({ verdict: 'pass', seen: expect.stringMatching(/^\/ /) });
  expect(find('clock')?.verdict).toBe('pass');
});

test('a unit that does not start after a reboot', { tags: ['nightly'] }, async () => {
  await shell(machine, `systemctl -q disable ${UNIT}`);
  const { failed, find } = await verify();
  expect(failed).toEqual(['enabled']);
  expect(find('enabled')?.seen).toBe('disabled: after a reboot, no worker runs');
});

test('a limit, and a setting, that a later drop-in changes', async () => {
  await shell(machine, `mkdir -p ${dropIns}`);
  await machine.writeFile(`${dropIns}/zz-mine.conf`, '[Service]\nMemoryMax=2G\n');
  await shell(machine, 'systemctl daemon-reload');
  const limit = await verify();
  expect(limit.failed).toEqual(['limits']);
  expect(limit.find('limits')).toMatchObject({
    seen: expect.stringContaining(`MemoryMax 2 GiB (set by ${dropIns}/zz-mine.conf:2)`),
    expected: 'MemoryMax 800 MiB',
  });
  await machine.writeFile(`${dropIns}/zz-mine.conf`, '[Service]\nKillMode=control-group\n');
  await shell(machine, 'systemctl daemon-reload');
  const setting = await verify();
  expect(setting.failed).toEqual(['settings']);
  expect(setting.find('settings')).toMatchObject({
    seen: `KillMode=control-group (set by ${dropIns}/zz-mine.conf:2)`,
    expected: 'KillMode=mixed',
  });
});

test('a child that is stopped', async () => {
  const child = await shell(
    machine,
    `pid=$(pgrep -P "$(systemctl show -P MainPID ${UNIT})"); kill -STOP $pid; echo $pid`,
  );
  await waitUntil('it is stopped', async () =>
    (await shell(machine, `ps -o state= -p ${child}`)).startsWith('T'),
  );
  const { failed, find } = await verify();
  expect(failed).toEqual(['progress']);
  expect(find('progress')?.seen).toBe(`stopped by a signal: pid ${child}`);
});

test('a job that the release has begun, and that stands still', { tags: ['nightly'] }, async () => {
  const inDatabase = (text: string) => shell(machine, `sqlite3 ${DATABASE} "${text}"`);
  const asked = { database: DATABASE, threshold: '1s' };
  const before = await verify({}, asked);
  expect([before.failed, before.find('stuck-jobs')?.verdict]).toEqual([[], 'pass']);
  await inDatabase(
    "INSERT INTO jobs (id, status, celery_task_id, created_at, started_at) VALUES ('stands-still', 'processing', 'stands-still', datetime('now'), datetime('now'))",
  );
  await shell(machine, 'sleep 2');
  const { failed, find } = await verify({}, asked);
  await inDatabase("DELETE FROM jobs WHERE id = 'stands-still'");
  expect(failed).toEqual(['stuck-jobs']);
  expect(find('stuck-jobs')).toMatchObject({
    seen: '1 row in jobs',
    evidence: [expect.any(String)],
  });
});

test('a file system of the app at 96 %, and one without inodes', {
  tags: ['nightly'],
}, async () => {
  const folder = `${BACKEND}/uploads`;
  await shell(
    machine,
    `mkdir -p ${folder} && mount -t tmpfs -o size=100M,nr_inodes=1000 tmpfs ${folder}
    head -c ${96 * MiB} /dev/zero >${folder}/full`,
  );
  const bytes = await verify();
  expect(bytes.failed).toEqual(['disk']);
  expect(bytes.find('disk')).toMatchObject({
    seen: expect.stringContaining(`${folder} 96 % full, 4 MiB free`),
    expected: `at most 95 % of ${folder} used`,
  });
  await shell(machine, `rm ${folder}/full && cd ${folder} && touch $(seq 980)`);
  const inodes = await verify();
  expect(inodes.failed).toEqual(['disk']);
  expect(inodes.find('disk')?.seen).toMatch(/uploads 0 % full, 100 MiB free, 98(\.\d)? % of its/);
});

test('a clock that differs by 5 min from the one of the runner', {
  tags: ['nightly'],
}, async () => {
  // A container has the clock of its machine: here the runner's is wrong.
  const shift = join(makeTemporaryFolder(), 'shift.mjs');
  await writeFile(shift, 'const now = Date.now; Date.now = () => now() - 300_000;\n');
  const { failed, find } = await verify({ env: { NODE_OPTIONS: `--import=${shift}` } });
  expect(failed).toEqual(['clock']);
  expect(find('clock')?.seen).toMatch(/^(?:5 min|4 min 59 s|5 min 1 s) ahead of the runner's, ±/);
});

test('swap that is not in fstab', { tags: ['nightly'] }, async () => {
  // A container shows no swap of its own, and its swap would be its machine's business.
  await machine.writeFile(
    '/root/swaps',
    'Filename\tType\tSize\tUsed\tPriority\n/swap\\040file file 2097148 0 -2\n',
  );
  await machine.writeFile('/root/none', '#!/bin/sh\necho none\nexit 1\n', '0755');
  await machine.writeFile('/etc/fstab', '# /swap\\040file none swap sw 0 0\n');
  await shell(
    machine,
    'mount --bind /root/swaps /proc/swaps; mount --bind /root/none /usr/bin/systemd-detect-virt',
  );
  // systemd itself would still say that this is a container.
  await shell(machine, 'mount --bind /dev/null /run/systemd/private');
  const lost = await verify();
  expect(lost.failed).toEqual([]);
  expect(lost.find('swap-boot')).toMatchObject({
    verdict: 'warn',
    seen: expect.stringContaining('/swap file is not in /etc/fstab'),
  });
  await machine.writeFile('/etc/fstab', '/swap\\040file none swap sw 0 0\n');
  const kept = await verify();
  expect(kept.failed).toEqual([]);
  expect(kept.find('swap-boot')?.seen).toContain('/swap file is in /etc/fstab');
});

test('checks of the user: a command of the app and a URL, and the answers that they must give', async () => {
  await machine.writeFile(
    `${BACKEND}/check.py`,
    'import celery_app, os, sys\nprint(os.getcwd(), os.path.exists("/tmp/down"))\nsys.exit(os.path.exists("/tmp/down"))\n',
  );
  const checks = `
- { name: the app is up, command: python check.py, contains: ${BACKEND} False }
- { name: it answers, url: http://127.0.0.1/api/health, contains: '{' }
- { name: and nothing else, url: http://127.0.0.1/no/such/page, status: 404 }
`;
  const own = (all: readonly Check[]) =>
    all.filter(({ id }) => id === 'own').map(({ title, verdict }) => `${title}: ${verdict}`);
  const healthy = await verify({}, { checks });
  expect(healthy.failed).toEqual([]);
  expect(own(healthy.checks)).toEqual([
    'the app is up: pass',
    'it answers: pass',
    'and nothing else: pass',
  ]);
  await shell(machine, 'touch /tmp/down');
  const down = await verify({}, { checks });
  expect(down.failed).toEqual(['own']);
  expect(down.find('own')).toMatchObject({
    title: 'the app is up',
    seen: expect.stringMatching(/^exit code 1 in /),
    expected: 'exit code 0',
    evidence: [`${BACKEND} True`],
  });
  await shell(machine, `systemctl stop slideshow-web; rm /tmp/down`);
  const silent = await verify({}, { checks });
  await shell(machine, 'systemctl start slideshow-web');
  expect(silent.failed).toEqual(['own', 'own']);
  expect(own(silent.checks)).toEqual([
    'the app is up: pass',
    'it answers: fail',
    'and nothing else: fail',
  ]);
});
