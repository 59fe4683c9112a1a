import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { type BundleRun, runBundle } from '../lib/bundle.ts';
import { type Inputs, inputsFor } from './lib/inputs.ts';
import { BACKEND, shell, show, UNIT, UNIT_PATH } from './lib/worker.ts';

/** The app's own folder, which only its EnvironmentFile names. */
const LIBRARY = '/srv/library';
const FILE = '/srv/worker.env';
const APP = `${BACKEND}/celery_app.py`;
const FOLDER = /\/usr\/local\/lib\/celeriac\/[0-9a-f]{12}/;

let machine: Machine;

beforeAll(async () => {
  machine = await startMachine({ name: 'module-path', state: 'healthy' });
});

afterAll(() => machine?.stop());

const unitOf = (...lines: readonly string[]): string => `[Unit]
Description=Celery Worker
After=redis-server.service

[Service]
Type=simple
User=root
WorkingDirectory=${BACKEND}
${lines.join('\n')}
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
`;

const CELERY = 'celery -A celery_app worker --loglevel=info --concurrency=1';

beforeEach(async () => {
  await machine.reset();
  await shell(machine, `mkdir -p ${LIBRARY}`);
  await machine.writeFile(`${LIBRARY}/library.py`, 'READ = True\n');
  await machine.writeFile(FILE, `# the app's own\nPYTHONPATH=${LIBRARY}\n`);
  await shell(machine, `cp ${APP} ${APP}.plain; echo import library >>${APP}`);
});

async function install(...lines: readonly string[]): Promise<void> {
  await machine.writeFile(UNIT_PATH, unitOf(...lines));
  await shell(machine, `systemctl daemon-reload && systemctl restart ${UNIT}`);
}

async function deploy(inputs: Inputs = {}): Promise<BundleRun> {
  const quick = { unit: UNIT, 'min-healthy-time': '1s', 'confirm-within': 'off' };
  return await runBundle('deploy-worker', inputsFor(machine, { ...quick, ...inputs }));
}

async function expectDeployed(inputs: Inputs = {}): Promise<void> {
  const run = await deploy(inputs);
  expect(run.code, run.log).toBe(0);
  const again = await deploy(inputs);
  expect(again.code, again.log).toBe(0);
  expect(again.outputs.changed).toBe('false');
}

/** Starts are over when the worker consumes, which the module tells systemd. */
async function pathOfRestarted(): Promise<string> {
  await shell(machine, `systemctl restart ${UNIT}`);
  const { ActiveState, NRestarts, MainPID } = await show(
    machine,
    'ActiveState',
    'NRestarts',
    'MainPID',
  );
  expect([ActiveState, NRestarts]).toEqual(['active', '0']);
  const all = await shell(machine, `tr '\\0' '\\n' </proc/${MainPID}/environ`);
  return /^PYTHONPATH=(.*)$/m.exec(all)?.[1] ?? '';
}

test('PYTHONPATH of an EnvironmentFile hides nothing', () => expectFound('rewrite'));
test('nor in a drop-in', { tags: ['nightly'] }, () => expectFound('drop-in'));

async function expectFound(mode: string): Promise<void> {
  await install(`EnvironmentFile=${FILE}`, `ExecStart=/usr/bin/${CELERY}`);
  await expectDeployed({ 'unit-mode': mode });
  const path = await pathOfRestarted();
  expect(path).toMatch(FOLDER);
  expect(path).toContain(LIBRARY);

  // A line that somebody adds later does not, either.
  await shell(machine, `echo PYTHONPATH=${LIBRARY}:/srv/more >>${FILE}`);
  expect(await pathOfRestarted()).toContain(`${LIBRARY}:/srv/more`);
}

test('a unit of an older Celeriac is converted, and its file read late', async () => {
  const old = '/usr/local/lib/celeriac';
  await install(
    `Environment=PYTHONPATH=${old}:${LIBRARY}`,
    `EnvironmentFile=-${FILE}.later`,
    `ExecStart=/usr/bin/${CELERY}`,
  );
  await expectDeployed();
  await machine.writeFile(`${FILE}.later`, `PYTHONPATH=${LIBRARY}\n`);
  expect(await pathOfRestarted()).toMatch(FOLDER);
  expect(await machine.readFile(UNIT_PATH)).not.toMatch(/celeriac:/);
});

test('a shell that reads the file itself', { tags: ['nightly'] }, async () => {
  await install(`ExecStart=/bin/bash -c 'set -a; . ${FILE}; exec /usr/bin/${CELERY}'`);
  await shell(machine, `mv ${APP}.plain ${APP}`);
  await expectDeployed();
  const path = await pathOfRestarted();
  expect(path).toMatch(FOLDER);
  expect(path).toContain(LIBRARY);
});

test('a path that must not be extended is seen before anything stops', async () => {
  await install(`EnvironmentFile=${FILE}`, `ExecStart=:/usr/bin/${CELERY}`);
  const { MainPID } = await show(machine, 'MainPID');
  const run = await deploy();
  expect(run.code).toBe(1);
  expect(run.log).toContain("No module named 'celeriac_support'");
  expect((await show(machine, 'MainPID', 'ActiveState')).MainPID).toBe(MainPID);
});

/** What the trial's process and the worker's have of their own. */
const ITS_OWN =
  /^(?:INVOCATION_ID|JOURNAL_STREAM|NOTIFY_SOCKET|WATCHDOG_\w+|SYSTEMD_EXEC_PID|PYTHONDONTWRITEBYTECODE|FORKED_BY_MULTIPROCESSING|CELERY_\w+|MP_\w+|_MP_\w+)$/;

test('the app is tried in exactly the environment of the worker', {
  tags: ['nightly'],
}, async () => {
  const files = {
    '10.env': "A=1\r\nB='x y' z\r\n# C=3 \\\nD=4\n; E=5\n",
    '20.env': 'A=2\nF="a\\\nb \\$x"\nG=it\'s\n  H = i \nexport I=1\nJ=a\\\r\nK=1\rL=2\n',
    '9.env': 'A="nine\ntimes"\nM=\nN=\'\\\'\nPATH=/opt/bin:/usr/local/bin:/usr/bin:/bin\n',
  };
  await shell(machine, 'mkdir -p /srv/env');
  for (const [name, text] of Object.entries(files)) {
    await machine.writeFile(`/srv/env/${name}`, text);
  }
  await shell(
    machine,
    `echo 'import json, os, sys; json.dump(dict(os.environ, ARGV=" ".join(sys.argv)), open("/srv/seen-%d.json" % os.getpid(), "w"))' >>${APP}`,
  );
  await install(
    'Environment=A=0 O=unit "P=two words" Q=%n',
    'PassEnvironment=container HOME',
    'UnsetEnvironment=O LANG',
    'RuntimeDirectory=one two',
    'StateDirectory=three',
    `EnvironmentFile=${FILE}`,
    'EnvironmentFile=/srv/env/*.env',
    'EnvironmentFile=-/srv/env/none',
    `ExecStart=/usr/bin/${CELERY}`,
  );
  await shell(machine, 'rm -f /srv/seen-*');
  const run = await deploy();
  expect(run.code, run.log).toBe(0);
  const { MainPID } = await show(machine, 'MainPID');
  const seen: Record<string, Record<string, string>> = {};
  for (const path of (await shell(machine, 'ls -tr /srv/seen-*.json')).split('\n')) {
    const all = Object.entries(JSON.parse(await machine.readFile(path)) as Record<string, string>);
    const own = all.filter(([name]) => !ITS_OWN.test(name));
    seen[path] = Object.fromEntries(own.toSorted(([a], [b]) => (a < b ? -1 : 1)));
  }
  const { ARGV: how, ...worker } = seen[`/srv/seen-${MainPID}.json`] ?? {};
  expect(how).toContain('celery -A celery_app worker');
  expect(worker).toMatchObject({ A: 'nine\ntimes', F: 'ab $x', STATE_DIRECTORY: '/var/lib/three' });
  const tried = Object.values(seen).filter(({ ARGV }) => ARGV === '-c celery_app celeriac_support');
  expect(tried.map(({ ARGV, ...trial }) => trial)).toEqual([worker]);
});
