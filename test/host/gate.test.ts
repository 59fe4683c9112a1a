import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import type { Check } from '../../src/model/verdict.ts';
import { type BundleOptions, type BundleRun, runBundle } from '../lib/bundle.ts';
import { beginHeldJob, installHeldJobs } from './lib/held-jobs.ts';
import { type Inputs, inputsFor } from './lib/inputs.ts';
import { SUPPORT_FOLDER, startSupportedUnit, supportedUnit } from './lib/units.ts';
import { BACKEND, shell, show, UNIT, waitUntil } from './lib/worker.ts';

/*
 * What goes wrong on a host after a deploy, each caught by the right check while nothing else turns
 * red.
 */

/** What the kernel of its host keeps from a container. */
const hidden = ['swap', 'memory', 'memory-events', 'oom', 'kernel-oom'];
/**
 * The rest of it, of the gate; the search for jobs, which this app is not asked for; and what a release
 * has set, where there is none.
 */
const unasked = ['gate-peak', 'gate-oom', 'memory-return', 'stuck-jobs', 'settings'];

const service = `MemoryMax=800M
Restart=always
RestartSec=1
WatchdogSec=120

[Install]
WantedBy=multi-user.target
`;

let machine: Machine;

beforeAll(async () => {
  machine = await startMachine({ name: 'gate', state: 'healthy' });
});

afterAll(() => machine?.stop());

beforeEach(async () => {
  await machine.reset();
  await startSupportedUnit(machine, supportedUnit('celery,batch,links,variations', service));
  await machine.run(`systemctl enable --quiet ${UNIT}`);
});

interface Verified extends BundleRun {
  readonly checks: readonly Check[];
  readonly failed: readonly string[];
}

async function verify(inputs: Inputs = {}, options: BundleOptions = {}): Promise<Verified> {
  const given = inputsFor(machine, { database: 'none', ...inputs });
  const run = await runBundle('verify', given, options);
  const checks = JSON.parse(run.outputs.checks ?? '[]') as Check[];
  expect(run.outputs['failed-checks'], run.log).toBeDefined();
  const failed = checks.flatMap(({ id, verdict }) => (verdict === 'fail' ? [id] : []));
  expect(run.outputs['failed-checks']).toBe(failed.join(','));
  expect(run.outputs.verdict, run.log).toBe(failed.length === 0 ? 'healthy' : 'unhealthy');
  expect(run.code).toBe(failed.length === 0 ? 0 : 1);
  return { ...run, checks, failed };
}

/** What is not passed, and could be known here. */
const open = ({ checks }: Verified) =>
  checks
    .filter(({ verdict }) => verdict !== 'pass')
    .filter(({ id, verdict }) => verdict !== 'unknown' || ![...hidden, ...unasked].includes(id))
    .map(({ id, verdict }) => `${id}: ${verdict}`);

const seenBy = ({ checks }: Verified, id: string): string =>
  checks.find((check) => check.id === id)?.seen ?? '';

/** The app's own Python. */
const app = (lines: string) =>
  shell(
    machine,
    `cd ${BACKEND} && python3 - <<'PY'\nfrom celery_app import celery_app as app\n${lines}\nPY`,
  );

const logged = (pattern: string) =>
  shell(machine, `journalctl -u ${UNIT} -o cat -q -g '${pattern}' | wc -l`).then(Number);

/** Restarts the worker, which prints these lines when it is ready. */
async function print(command: string, settings = ''): Promise<void> {
  const script = '/usr/local/bin/print-lines';
  await machine.run(`mkdir -p /etc/systemd/system/${UNIT}.d`);
  await machine.writeFile(script, `#!/bin/sh\n${command}\n`);
  await machine.writeFile(
    `/etc/systemd/system/${UNIT}.d/lines.conf`,
    `[Service]\n${settings}ExecStartPost=/bin/sh ${script}\n`,
  );
  await machine.run(`systemctl daemon-reload && systemctl restart ${UNIT}`);
}

async function expectHealthy(times: number): Promise<void> {
  for (let time = 1; time <= times; time += 1) {
    const run = await verify();
    expect(open(run), `run ${time}: ${run.log}`).toEqual([]);
  }
}

test('a healthy host passes, again and again', { tags: ['nightly'] }, () => expectHealthy(4));

test('a healthy host passes fifty times in a row', { tags: ['nightly'] }, () => expectHealthy(50));

describe('the app is imported once', () => {
  /** Each import leaves its process id. */
  async function verifyCounting(lines: string): Promise<readonly string[]> {
    await machine.run(`mkdir -p /var/tmp/imports && chmod 777 /var/tmp/imports`);
    const text = supportedUnit('celery,batch,links,variations', `${lines}${service}`).replace(
      'celery_app',
      'counted',
    );
    await machine.writeFile(
      `${BACKEND}/counted.py`,
      `import os
from celery_app import celery_app

open('/var/tmp/imports/%d' % os.getpid(), 'w').close()
`,
    );
    await startSupportedUnit(machine, text);
    await machine.run('rm -f /var/tmp/imports/*');
    const run = await verify();
    expect(run.failed, run.log).toEqual([]);
    // Nothing of it is left, not even the file with its variables.
    expect(await shell(machine, 'ls /run/celeriac/programs')).toBe('');
    expect(await shell(machine, 'systemctl list-units --no-legend celeriac-program-*')).toBe('');
    return (await shell(machine, 'ls /var/tmp/imports')).split('\n').filter((line) => line !== '');
  }

  test('by a run with probes', async () => {
    expect(await verifyCounting('')).toHaveLength(1);
  });

  test('with a PYTHONPATH that the line completes, and restrictions', async () => {
    await machine.writeFile('/etc/worker.env', 'PYTHONPATH=/srv/own\n');
    const start = `EnvironmentFile=/etc/worker.env
ProtectSystem=full
PrivateDevices=yes
ExecStart=
ExecStart=/usr/bin/env PYTHONPATH=${SUPPORT_FOLDER}:\${PYTHONPATH} /usr/bin/celery -A celery_app worker -I celeriac_support -l info --concurrency=1 -Q celery,batch,links,variations
`.replace('celery_app', 'counted');
    expect(await verifyCounting(start)).toHaveLength(1);
  });
});

describe('the broker', () => {
  test('stopped is named, and back it is forgotten', { tags: ['nightly'] }, async () => {
    await machine.run('systemctl stop redis-server');
    const red = await verify();
    expect(red.failed).toEqual(['broker']);
    expect(seenBy(red, 'broker')).toMatch(/^cannot reach the broker redis:\/\/.*refused/i);
    expect(seenBy(red, 'gate-job')).toContain('not sent, the app does not reach its broker');

    await machine.run('systemctl start redis-server');
    await waitUntil('the worker is connected again', async () =>
      (await shell(machine, 'redis-cli client list')).includes('cmd=brpop'),
    );
    expect((await verify()).failed).toEqual([]);
  });

  test('whose queue grows is a warning', { tags: ['nightly'] }, async () => {
    await machine.writeFile(
      '/tmp/producer.py',
      `import time
from celery_app import celery_app as app
while True:
    app.send_task('tasks.process_job', kwargs={'seconds': 0.3}, queue='links')
    time.sleep(0.1)
`,
    );
    await machine.run(
      `systemd-run --quiet --unit=producer -p WorkingDirectory=${BACKEND} -p Environment=PYTHONPATH=${BACKEND} python3 /tmp/producer.py`,
    );
    await waitUntil(
      'jobs wait',
      async () => Number(await shell(machine, 'redis-cli llen links')) > 0,
    );
    // The probes wait behind all that was sent before them: minutes, on a busy machine.
    const run = await verify({ 'gate-timeout': '15m' });
    // While it is at work, nobody can tell whether it leaves messages.
    const others = open(run).filter((each) => each !== 'consuming: unknown');
    expect(others, run.log).toEqual(['queue-lengths: warn']);
    expect(seenBy(run, 'queue-lengths')).toMatch(/^links: \d+, then \d+$/);
  });
});

test('a worker that answers and consumes nothing from a queue is caught, with where the probe is', async () => {
  await app(`app.control.cancel_consumer('links')`);
  await waitUntil(
    'it has cancelled',
    async () =>
      (await logged('anceling queue links')) > 0 ||
      !(await app('print(app.control.inspect().active_queues())')).includes("'links'"),
  );
  expect(await app('print(app.control.ping(timeout=5))')).toContain('pong');
  const run = await verify({ 'gate-timeout': '15s' });
  expect(run.failed).toEqual(['active-queues', 'gate-batch']);
  expect(seenBy(run, 'active-queues')).toBe('celery, batch, variations');
  expect(seenBy(run, 'gate-batch')).toBe(
    'no worker answered on links within 15 s (2 of 3 probes done); queued: links',
  );
  const batch = run.checks.find(({ id }) => id === 'gate-batch');
  expect(batch?.evidence).toContain('last lines of the journal:');
  // A log that stays gets few lines, however long it waits.
  expect(run.log.match(/probes? done; /g)?.length, run.log).toBeLessThan(4);
  expect(run.log).toMatch(/^ {2}2 of 3 probes done; queued: links \(after /m);
});

test('a restart by somebody during the gate is named, and no failure', {
  tags: ['nightly'],
}, async () => {
  // The probes wait behind it, so that the gate is at work when the worker is restarted.
  await installHeldJobs(machine);
  await machine.run(`systemctl restart ${UNIT}`);
  const { letGo } = await beginHeldJob(machine);
  const restart = async () => {
    await machine.run(`systemctl restart --no-block ${UNIT}`);
    const isStopping = async () =>
      (await show(machine, 'ActiveState')).ActiveState === 'deactivating';
    await waitUntil('the worker stops', isStopping);
    await letGo();
  };
  let restarted: Promise<void> | null = null;
  const onLog = (text: string) => {
    if (/ probes? done; /.test(text)) restarted ??= restart();
  };
  const run = await verify({ 'gate-timeout': '5m' }, { onLog });
  expect(restarted, run.log).not.toBeNull();
  await restarted;
  expect(run.failed, run.log).toEqual([]);
  expect(open(run)).toContain('invocation: warn');
  expect(seenBy(run, 'invocation')).toMatch(
    /^restarted during the gate: run [0-9a-f]{8} became [0-9a-f]{8}$/,
  );
  // By nobody's fault of the release: systemd itself restarted nothing.
  expect(seenBy(run, 'restarts')).toBe('none');
  expect(open(await verify())).toEqual([]);
});

test('a main process that hangs is ended by its watchdog, which is named', {
  tags: ['nightly'],
}, async () => {
  await machine.writeFile(
    `${SUPPORT_FOLDER}/hang.py`,
    `import time
from celery.worker.control import control_command

@control_command()
def hang(state):
    time.sleep(3600)
`,
  );
  const text = supportedUnit('celery,batch,links,variations', service)
    .replace('-I celeriac_support', '-I celeriac_support,hang')
    .replace('WatchdogSec=120', 'WatchdogSec=10');
  await startSupportedUnit(machine, text);
  expect((await verify()).failed).toEqual([]);
  await app(`app.control.broadcast('hang')`);
  await waitUntil('systemd has started it anew', async () => {
    const { NRestarts, ActiveState } = await show(machine, 'NRestarts', 'ActiveState');
    return NRestarts === '1' && ActiveState === 'active';
  });
  const run = await verify();
  expect(run.failed, run.log).toEqual(['restarts']);
  expect(seenBy(run, 'restarts')).toBe('1 restart');
  const restarts = run.checks.find(({ id }) => id === 'restarts');
  expect(restarts?.evidence.join('\n')).toContain('Watchdog timeout');
});

test('a worker that systemd restarts again and again', { tags: ['nightly'] }, async () => {
  for (const count of ['1', '2', '3']) {
    await machine.run(`systemctl kill --kill-who=main --signal=KILL ${UNIT}`);
    await waitUntil(`it is restarted, ${count}`, async () => {
      const { NRestarts, ActiveState } = await show(machine, 'NRestarts', 'ActiveState');
      return NRestarts === count && ActiveState === 'active';
    });
  }
  const run = await verify();
  expect(run.failed, run.log).toEqual(['restarts']);
  expect(seenBy(run, 'restarts')).toBe('3 restarts');
  const restarts = run.checks.find(({ id }) => id === 'restarts');
  expect(restarts?.evidence.join('\n')).toContain('Main process exited, code=killed');
});

describe('what it logs', () => {
  test('a storm of 429s', { tags: ['nightly'] }, async () => {
    const calls = `for _ in range(5):
    app.send_task('tasks.process_job', kwargs={'seconds': 0, 'failure': 'rate-limit'})`;
    await app(calls);
    await waitUntil('all have given up', async () => (await logged('raised unexpected')) >= 5);
    const run = await verify();
    expect(run.failed).toEqual(['rate-limits']);
    expect(seenBy(run, 'rate-limits')).toMatch(/^\d\d in /);
    const { verdict } = run.checks.find(({ id }) => id === 'gate-rate-limits') ?? {};
    expect(verdict).toBe('pass');
  });

  test('the digits 429 that are none', { tags: ['nightly'] }, async () => {
    await print(
      `for i in $(seq 300); do
  echo "row 429 of 4290 done in 429ms, id 429, 429 items, size=429"
done`,
    );
    const run = await verify({ 'rate-limit-max': '0' });
    expect(open(run)).toEqual([]);
    expect(seenBy(run, 'rate-limits')).toMatch(/^none in 3\d\d lines/);
  });

  test('an error of a new kind', { tags: ['nightly'] }, async () => {
    await app(`app.send_task('tasks.process_job', kwargs={'seconds': 0, 'failure': 'error'})`);
    await waitUntil('it has failed', async () => (await logged('raised unexpected')) > 0);
    const run = await verify();
    expect(open(run)).toEqual(['errors: warn', 'new-errors: warn']);
    expect(seenBy(run, 'new-errors')).toBe(
      `1 signature: tasks.WorkError at ${BACKEND}/tasks.py in work`,
    );
    expect((await verify({ 'max-errors': '0' })).failed).toEqual(['errors']);
  });

  test('more than journald keeps', { tags: ['nightly'] }, async () => {
    const settings = 'LogRateLimitIntervalSec=2s\nLogRateLimitBurst=100\n';
    const lines = 'seq 3000; sleep 3; echo further; sleep 3; echo more';
    await print(lines, settings);
    await waitUntil(
      'journald says what it dropped',
      async () =>
        (await shell(machine, 'journalctl -q -o cat -g "Suppressed.*celery-worker" || true')) !==
        '',
    );
    const run = await verify();
    expect(open(run)).toEqual(['journal: warn']);
    expect(seenBy(run, 'journal')).toMatch(/journald dropped \d+ lines: counts are lower bounds/);
  });
});

test('an app that answers 503', { tags: ['nightly'] }, async () => {
  await machine.writeFile(
    '/tmp/sick.py',
    `from http.server import BaseHTTPRequestHandler, HTTPServer
class Sick(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(503)
HTTPServer(('127.0.0.1', 8503), Sick).serve_forever()
`,
  );
  await machine.run('systemd-run --quiet --unit=sick python3 /tmp/sick.py');
  await waitUntil(
    'it listens',
    async () => (await shell(machine, 'ss -Hltn sport = :8503')) !== '',
  );
  const run = await verify({ 'http-probes': 'http://127.0.0.1:8503/health' });
  expect(run.failed).toEqual(['http']);
  expect(seenBy(run, 'http')).toContain('503');
});

test('beat inside the worker, in the same word as -E', async () => {
  const text = supportedUnit('celery,batch,links,variations', service);
  const withBeat = text.replace(' -l info', ' -l info -EB -s /var/tmp/schedule');
  await startSupportedUnit(machine, withBeat);
  await waitUntil('beat has a schedule', async () =>
    (await shell(machine, 'ls /var/tmp')).includes('schedule'),
  );
  const green = await verify();
  expect(open(green), green.log).toEqual([]);
  expect(seenBy(green, 'beat')).toMatch(/^1, pid \d+ in celery-worker\.service; .*written/);

  await machine.run(`
    cd ${BACKEND}
    setsid nohup python3 -m celery.__main__ -A celery_app beat -s /var/tmp/schedule2 --pidfile= >/tmp/beat.log 2>&1 </dev/null &
  `);
  await waitUntil('there is another', async () =>
    (await shell(machine, 'ls /var/tmp')).includes('schedule2'),
  );
  const two = await verify();
  expect(two.failed).toEqual(['beat']);
  expect(seenBy(two, 'beat')).toMatch(/^2 beats: /);
});

test('beat: dead, or twice', { tags: ['nightly'] }, async () => {
  const command = `/usr/bin/celery -A celery_app beat -s /var/tmp/schedule`;
  await machine.writeFile(
    '/etc/systemd/system/celery-beat.service',
    `[Service]\nWorkingDirectory=${BACKEND}\nExecStart=${command}\n\n[Install]\nWantedBy=multi-user.target\n`,
  );
  const start = async () => {
    await machine.run('systemctl daemon-reload; systemctl enable --quiet --now celery-beat');
    await waitUntil('beat has a schedule', async () =>
      (await shell(machine, 'ls /var/tmp')).includes('schedule'),
    );
  };
  await start();
  const green = await verify();
  expect(open(green)).toEqual([]);
  expect(seenBy(green, 'beat')).toMatch(/^1, pid \d+ in celery-beat\.service; .*written/);

  await machine.run(`
    cd ${BACKEND}
    setsid nohup ${command}2 --pidfile= >/tmp/beat.log 2>&1 </dev/null &
  `);
  await waitUntil(
    'there are two',
    async () => Number(await shell(machine, `pgrep -fc 'celery_app [b]eat'`)) > 1,
  );
  const two = await verify();
  expect(two.failed).toEqual(['beat']);
  expect(seenBy(two, 'beat')).toMatch(/^2 beats: /);

  await machine.run(`pkill -KILL -f 'celery_app [b]eat'`);
  await waitUntil(
    'its unit has failed',
    async () => (await shell(machine, 'systemctl is-active celery-beat || true')) === 'failed',
  );
  const dead = await verify();
  expect(dead.failed).toEqual(['beat']);
  expect(seenBy(dead, 'beat')).toContain('celery-beat.service is failed');
});
