import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { openGitCode } from '../../src/adapters/git-code.ts';
import { sha256Text, seconds as time } from '../../src/model/units.ts';
import { type BundleRun, runBundle } from '../lib/bundle.ts';
import { Clone } from './lib/clone.ts';
import { Hand, noApp } from './lib/hand.ts';
import { type Inputs, inputsFor, taskListLimits } from './lib/inputs.ts';
import { expectOneError } from './lib/one-error.ts';
import { printedStory, storyOf } from './lib/plan-log.ts';
import {
  BACKEND,
  completeJob,
  DATABASE,
  listTransactions,
  readRows,
  readTransaction,
  shell,
  show,
  UNIT,
  UNIT_PATH,
  waitUntil,
} from './lib/worker.ts';

const CHECKOUT = '/root/slideshow';
const VENV = '/srv/venv';
const REQUIREMENTS = '--no-index\n--find-links /srv/wheels\nprobe-package==1.0\n';

let machine: Machine;
let clone: Clone;
/** The commit that the host had before Celeriac came. */
let original: string;

beforeAll(async () => {
  machine = await startMachine({ name: 'deploy-code', state: 'environment' });
  clone = await Clone.of(machine, CHECKOUT);
  original = clone.git('rev-parse', 'HEAD');
});

beforeEach(async () => {
  await machine.reset();
  clone.git('reset', '-q', '--hard', original);
});

afterAll(async () => {
  clone?.[Symbol.dispose]();
  await machine?.stop();
});

/** Deploys the newest commit of the clone. */
function deploy(inputs: Inputs = {}): Promise<BundleRun> {
  const source: Inputs = 'roll-back' in inputs ? {} : { source: 'git' };
  const limits = 'roll-back' in inputs ? {} : taskListLimits;
  const asked = { 'min-healthy-time': '2s', ...limits, ...source, ...inputs };
  return runBundle('deploy-worker', inputsFor(machine, asked), {
    env: { GITHUB_WORKSPACE: clone.folder, GITHUB_SHA: clone.git('rev-parse', 'HEAD') },
  });
}

const withRequirements = { requirements: 'backend/requirements.txt' };
const head = (folder = CHECKOUT) => shell(machine, `git -C ${folder} rev-parse HEAD`);
const headOfDeploy = (folder: string) =>
  shell(machine, `sudo -u deploy git -C ${folder} rev-parse HEAD`);
const mainPid = async () => (await show(machine, 'MainPID')).MainPID;
const probe = () =>
  shell(machine, `${VENV}/bin/python -c 'import probe_package; print(probe_package.VERSION)'`);
const short = (commit: string) => commit.slice(0, 7);

test('the commit of the run; then nothing to do; a broken commit is undone; and all of it rolled back', async () => {
  const { deployed, transaction } = await deployCommit();
  await deployAgain(deployed);
  await deployBroken(deployed);
  await rollBack(transaction);
});

/** Over the one connection; a dry run sends nothing. */
async function deployCommit() {
  const tasks = clone.read('backend/tasks.py');
  const deployed = clone.commit('Say who is at work <b>::error::', {
    'backend/requirements.txt': REQUIREMENTS,
    'backend/tasks.py': `import probe_package\n\nlog_line = probe_package.VERSION\n${tasks.replace('from __future__ import annotations\n', '')}`,
  });
  const rows = await readRows(machine);
  const dry = await deploy({ ...withRequirements, 'dry-run': 'true' });
  expect(dry.code, dry.log).toBe(0);
  expect(await shell(machine, 'ls /var/lib/celeriac/incoming 2>/dev/null || true')).toBe('');
  const run = await deploy(withRequirements);
  expect(run.code, run.log).toBe(0);
  const transaction = run.outputs.transaction ?? '';
  const story = await readTransaction(machine, transaction);
  expect(storyOf(story)).toBe(printedStory(dry.log));
  const order = story.plan.operations.map(({ op }) => op);
  expect(order.filter((op) => op !== 'drain-worker' && op !== 'enable-unit')).toEqual([
    'verify-unit',
    'guard-unit',
    'fetch-commit',
    'install-dependencies',
    'write-file',
    'install-unit',
    'checkout-code',
    'try-app',
    'stop-unit',
    'start-unit',
    'prove-unit',
    'find-unacked',
    'start-sampler',
  ]);
  expect(run.log).toContain('probe-package none → 1.0');
  expect(run.summary).toContain(`${short(original)} → ${short(deployed)}`);
  expect(run.summary).toContain(`${short(deployed)} Say who is at work <b>`);
  expect(run.log).not.toMatch(/^::error/m);
  expect(run.log).toMatch(/1 handshake, 1 exec, \d+ messages/);
  expect(await head()).toBe(deployed);
  expect(
    await shell(machine, `cd ${CHECKOUT}; git status --short --branch; git log --format=%s`),
  ).toBe('## main\nSay who is at work <b>::error::\nSlideshow backend');
  expect(await readRows(machine)).toEqual(rows);
  expect(await shell(machine, `find ${VENV} ! -user root ! -path '*__pycache__*'`)).toBe('');
  expect(await shell(machine, `stat -c %a /var/lib/celeriac/incoming`)).toBe('700');
  await completeJob(machine);
  return { deployed, transaction };
}

async function deployAgain(deployed: string): Promise<void> {
  const pid = await mainPid();
  const run = await deploy(withRequirements);
  expect(run.code, run.log).toBe(0);
  expect(run.log).toContain('Nothing to do: the host is in the desired state.');
  expect(run.log).toContain(`code: ${CHECKOUT} is at ${short(deployed)}`);
  expect(run.log).toContain('dependencies: backend/requirements.txt is unchanged');
  expect(await mainPid()).toBe(pid);
}

/** Code that does not import, with other dependencies: all is back, and the worker never stopped. */
async function deployBroken(deployed: string): Promise<void> {
  const pid = await mainPid();
  const app = clone.read('backend/celery_app.py');
  clone.commit('A mistake', {
    'backend/celery_app.py': `${app}\nimport no_such_module\n`,
    'backend/requirements.txt': REQUIREMENTS.replace('1.0', '2.0'),
    'backend/new/module.py': '',
  });
  const before = await shell(machine, `stat -c '%Y %n' ${BACKEND}/*.py`);
  const run = await deploy(withRequirements);
  expectOneError(run);
  expect(run.log).toContain("ModuleNotFoundError: No module named 'no_such_module'");
  expect(run.log).toContain('probe-package 1.0 → 2.0');
  expect(run.log).toContain(`${CHECKOUT} is at ${short(deployed)} again`);
  expect(run.log).toContain(`${VENV} restored`);
  expect(run.log).toContain('never stopped serving');
  expect(await mainPid()).toBe(pid);
  expect(await head()).toBe(deployed);
  expect(await probe()).toBe('1.0');
  // The copy of the deploy before, for a rollback of that; nothing of this one.
  expect(await shell(machine, `ls ${VENV}/.celeriac | grep -vc failed`)).toBe('1');
  expect(await shell(machine, `ls ${VENV}/.celeriac | wc -l`)).toBe('2');
  expect(await shell(machine, `git -C ${CHECKOUT} status --short`)).toBe('');
  expect(await shell(machine, `stat -c '%Y %n' ${BACKEND}/*.py`)).toBe(before);
  expect(await shell(machine, 'ls -A /var/tmp')).not.toContain('celeriac-dependencies');
  await completeJob(machine);
}

/** The commit of before, its dependencies, its worker. */
async function rollBack(transaction: string): Promise<void> {
  const run = await deploy({ 'roll-back': transaction });
  expect(run.code, run.log).toBe(0);
  expect(run.log).toContain(`${CHECKOUT} is at ${short(original)} again`);
  expect(await head()).toBe(original);
  expect(await shell(machine, `git -C ${CHECKOUT} status --short --branch`)).toBe('## main');
  await expect(probe()).rejects.toThrow();
  expect(await shell(machine, `ls ${DATABASE}`)).toBe(DATABASE);
  await completeJob(machine);
}

test('unavailable dependencies, and a pip that is killed half-way: the environment is as before', {
  tags: ['nightly'],
}, async () => {
  await using hand = await Hand.open(machine);
  const pid = await mainPid();
  const install = (version: string) =>
    ({
      op: 'install-dependencies',
      user: 'root',
      unit: UNIT,
      interpreter: [`${VENV}/bin/python`],
      tool: 'pip',
      file: `${version}.txt`,
      commit: original,
      lock: version,
      timeoutSeconds: time(150),
      release: '/srv/needs',
    }) as const;
  await shell(machine, 'mkdir /srv/needs');
  for (const version of ['1.0', '3.0', '9.0']) {
    const text = REQUIREMENTS.replace('1.0', version);
    await machine.writeFile(`/srv/needs/${version}.txt`, text);
  }
  await hand.commit([install('1.0')]);
  const record = await shell(machine, 'cat /var/lib/celeriac/dependencies/*.json');
  expect((await hand.refuse([install('9.0')])).message).toMatch(
    /^pip install of 9\.0\.txt failed as root: ERROR: No matching distribution/,
  );
  const running = hand.refuse([install('3.0')]);
  const half = `ls ${VENV}/lib/python3.11/site-packages/probe_data/7.py 2>/dev/null || true`;
  await waitUntil('pip is half done', async () => (await shell(machine, half)) !== '');
  await shell(machine, `pkill -KILL -f '[p]ip install --no-input'`);
  expect((await running).message).toContain('pip install of 3.0.txt failed');
  expect(await shell(machine, half)).toBe('');
  expect(await probe()).toBe('1.0');
  expect(await shell(machine, `find ${VENV} ! -user root ! -path '*__pycache__*'`)).toBe('');
  expect(await shell(machine, 'cat /var/lib/celeriac/dependencies/*.json')).toBe(record);
  expect(await mainPid()).toBe(pid);
});

test('a changed tracked file is listed and refused, a database in the way too', {
  tags: ['nightly'],
}, async () => {
  await shell(machine, `echo '# by hand' >>${BACKEND}/web.py`);
  clone.commit('Next', { 'backend/more.py': '' });
  const run = await deploy();
  await shell(machine, `git -C ${CHECKOUT} checkout -q backend/web.py`);
  expectOneError(run);
  expect(run.log).toContain('has uncommitted changes: backend/web.py');
  clone.commit('A database', {
    '.gitignore': '__pycache__/\n',
    'backend/batch_processing.db': 'SQLite format 3\0',
  });
  const rows = await readRows(machine);
  const overwritten = await deploy();
  expectOneError(overwritten);
  expect(overwritten.log).toContain('brings backend/batch_processing.db, which exists there');
  expect(await readRows(machine)).toEqual(rows);
  expect(await head()).toBe(original);
});

test('a git that is killed half-way, and a disk that fills up: the checkout is as before', {
  tags: ['nightly'],
}, async () => {
  await using hand = await Hand.open(machine);
  const pid = await mainPid();
  const next = clone.commit('Slow', {
    '.gitattributes': '*.slow filter=slow\n',
    'backend/a_new.py': '',
    'backend/celery_config.py': `${clone.read('backend/celery_config.py')}# more\n`,
    'm.slow': 's\n',
    'z.py': '',
  });
  const small = '/mnt/small';
  await shell(
    machine,
    `git -C ${CHECKOUT} config filter.slow.smudge 'sleep 600'
     mkdir ${small}; mount -t tmpfs -o size=64M none ${small}; git clone -q ${CHECKOUT} ${small}/app; chown -R deploy: ${small}/app
     sudo -u deploy git -C ${small}/app config filter.slow.smudge 'head -c 80M /dev/zero' `,
  );
  const known = { known: [original], shallow: [] };
  const parcel = await openGitCode(clone.folder).bundle(next, known);
  if (parcel === null) throw new Error('the host lacks nothing');
  await hand.agent.send(parcel, () => {});
  const sha256 = sha256Text(parcel.sha256);
  const plan = (checkout: string, user: string) =>
    [
      { op: 'guard-unit', unit: UNIT, ...noApp },
      { op: 'fetch-commit', user, checkout, commit: next, sha256 },
      { op: 'checkout-code', user, checkout, commit: next, expects: original, stash: false },
    ] as const;

  const running = hand.refuse(plan(CHECKOUT, 'root'));
  await waitUntil('the checkout is half done', async () => {
    const seen = await shell(
      machine,
      `cd ${CHECKOUT}; ls z.py backend/a_new.py .git/index.lock 2>/dev/null || true`,
    );
    return seen.includes('a_new.py') && seen.includes('index.lock') && !seen.includes('z.py');
  });
  await shell(machine, 'pkill -KILL -x git; pkill -KILL -x sleep; true');
  expect((await running).message).toContain('git checkout failed');
  expect(await head()).toBe(original);
  const status = `git -C ${CHECKOUT} status --short --branch; ls ${CHECKOUT}/.git | grep lock || true`;
  expect(await shell(machine, status)).toBe('## main');
  expect(await shell(machine, `ls ${BACKEND}`)).not.toContain('a_new.py');

  const full = await hand.refuse(plan(`${small}/app`, 'deploy'));
  expect(full.message).toMatch(/No space left on device/);
  expect(await shell(machine, `sudo -u deploy git -C ${small}/app status --short --branch`)).toBe(
    '## main...origin/main',
  );
  expect(await shell(machine, `find ${small}/app ! -user deploy`)).toBe('');
  expect(await mainPid()).toBe(pid);
});

test('no space for what is to be sent: reported before anything is sent', async () => {
  clone.commit('Next', { 'backend/more.py': '' });
  await shell(
    machine,
    'install -d -m 700 /var/lib/celeriac /var/lib/celeriac/incoming && mount -t tmpfs -o size=20M,mode=700 none /var/lib/celeriac/incoming',
  );
  const transactions = await listTransactions(machine);
  const run = await deploy();
  expectOneError(run);
  expect(run.log).toMatch(/incoming has \d+ MiB free, but the upload and a reserve need \d+ MiB/);
  expect(await listTransactions(machine)).toEqual(transactions);
  expect(await head()).toBe(original);
});

test('uploaded code folders: shared paths, the link, and the oldest removed', async () => {
  const base = '/srv/app';
  const oldest = ['1', '2', '3'].map((digit) => digit.repeat(40));
  await shell(
    machine,
    `systemctl stop ${UNIT}; install -d -o deploy ${base} ${base}/releases ${base}/shared ${base}/shared/backend
     for each in ${oldest.join(' ')}; do install -d -o deploy ${base}/releases/$each; install -D /dev/null ${base}/releases/$each/__pycache__/of-root.pyc; sleep 0.1; done
     mv ${DATABASE}* ${base}/shared/backend/
     sed -i 's#^WorkingDirectory=.*#WorkingDirectory=${base}/current/backend#' ${UNIT_PATH}
     systemctl daemon-reload`,
  );
  const inputs = {
    source: 'upload',
    'app-user': 'deploy',
    'deploy-to': base,
    shared: 'backend/batch_processing.db uploads/',
    'keep-releases': '2',
  };
  const elsewhere = await deploy({ ...inputs, 'deploy-to': `${base}/shared` });
  expectOneError(elsewhere);
  expect(elsewhere.log).toContain(`which does not go through ${base}/shared/current`);
  const ofRoot = await deploy({ ...inputs, 'app-user': '' });
  expectOneError(ofRoot);
  expect(ofRoot.log).toContain(`${base} belongs to deploy, and the app's user is root`);

  const run = await deploy(inputs);
  expect(run.code, run.log).toBe(0);
  const story = await readTransaction(machine, run.outputs.transaction ?? '');
  const order = story.plan.operations.map(({ op }) => op);
  expect(order.indexOf('unpack-release')).toBeLessThan(order.indexOf('try-app'));
  expect(order.indexOf('switch-release')).toBeLessThan(order.indexOf('start-unit'));
  expect(order.slice(-2)).toEqual(['prune-releases', 'start-sampler']);
  const release = `${base}/releases/${original}`;
  expect(
    await shell(
      machine,
      `readlink ${base}/current; readlink -f /proc/$(systemctl show -P MainPID ${UNIT})/cwd`,
    ),
  ).toBe(`releases/${original}\n${release}/backend`);
  expect(await shell(machine, `ls ${base}/releases`)).toBe([oldest[2], original].sort().join('\n'));
  expect(
    await shell(
      machine,
      `find ${release} ! -user deploy ! -path '*__pycache__*'; ls -A ${base}/shared`,
    ),
  ).toBe('backend\nuploads');
  const serving = await mainPid();
  const app = clone.read('backend/celery_app.py');
  const broken = clone.commit('A mistake', {
    'backend/celery_app.py': `${app}\nimport no_such_module\n`,
  });
  const failed = await deploy(inputs);
  expectOneError(failed);
  expect(failed.log).toContain(`/releases/${broken}/backend: ModuleNotFoundError`);
  expect(await shell(machine, `readlink ${base}/current; ls ${base}/releases`)).toBe(
    [`releases/${original}`, ...[oldest[2], original].sort()].join('\n'),
  );
  expect(await mainPid()).toBe(serving);
});

test('a unit of an unprivileged user: its code stays its own, and its Git filters never run as root', async () => {
  const app = '/srv/slideshow';
  const ran = '/var/tmp/filter-ran-as';
  await shell(
    machine,
    `systemctl stop ${UNIT}
     mkdir ${app}; cp -a ${CHECKOUT}/. ${app}; chown -R deploy: ${app} ${VENV}; install -m 666 /dev/null ${ran}
     sed -i 's#^WorkingDirectory=.*#WorkingDirectory=${app}/backend#; s#^User=.*#User=deploy#' ${UNIT_PATH}
     systemctl daemon-reload; systemctl start ${UNIT}
     sudo -u deploy git -C ${app} config filter.evil.clean 'sh -c "id -un >>${ran}; cat"'
     sudo -u deploy git -C ${app} config filter.evil.smudge 'sh -c "id -un >>${ran}; cat"'
     echo '* filter=evil' | sudo -u deploy tee ${app}/.git/info/attributes; touch ${app}/backend/*.py`,
  );
  const deployed = clone.commit('Next', {
    'backend/requirements.txt': REQUIREMENTS,
    'backend/more.py': '',
  });
  const run = await deploy(withRequirements);
  expect(run.code, run.log).toBe(0);
  expect(run.log).toContain('probe-package none → 1.0');
  expect(run.log).not.toContain('root works on its files');
  expect(await headOfDeploy(app)).toBe(deployed);
  expect(await shell(machine, `find ${app} ${VENV} ! -user deploy`)).toBe('');
  expect(await shell(machine, `sort -u ${ran}`)).toBe('deploy');
  expect(await shell(machine, 'ls -A /var/tmp')).not.toContain('celeriac-dependencies');

  // The same checkout for a unit of root, also in a dry run.
  await shell(
    machine,
    `truncate -s 0 ${ran}; touch ${app}/backend/*.py; sed -i 's#^User=.*#User=root#' ${UNIT_PATH}; systemctl daemon-reload`,
  );
  for (const dryRun of ['true', 'false']) {
    const refused = await deploy({ ...withRequirements, 'dry-run': dryRun });
    expectOneError(refused);
    expect(refused.log).toContain(`${app} belongs to deploy, and the app's user is root`);
  }
  expect(await shell(machine, `cat ${ran}`)).toBe('');

  await shell(machine, `sed -i 's#^User=.*#User=deploy#' ${UNIT_PATH}; systemctl daemon-reload`);
  const back = await deploy({ 'roll-back': run.outputs.transaction ?? '' });
  expect(back.log).toContain(`${app} is at ${short(original)} again`);
  expect(await headOfDeploy(app)).toBe(original);
  expect(await shell(machine, `find ${app} ${VENV} ! -user deploy ! -path '*__pycache__*'`)).toBe(
    '',
  );
  expect(await shell(machine, `sort -u ${ran}`)).toBe('deploy');
});

test("the system's own Python is not touched", async () => {
  await using hand = await Hand.open(machine);
  const failure = await hand.refuse([
    {
      op: 'install-dependencies',
      user: 'root',
      unit: UNIT,
      interpreter: ['/usr/bin/python3'],
      tool: 'pip',
      file: 'backend/requirements.txt',
      commit: original,
      lock: '0',
      timeoutSeconds: time(60),
      checkout: CHECKOUT,
    },
  ]);
  expect(failure.message).toContain("runs on the system's Python");
  expect(failure.message).toContain('python3 -m venv');
});
