import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { type BundleOptions, type BundleRun, runBundle } from '../lib/bundle.ts';
import { Clone } from './lib/clone.ts';
import { type Inputs, inputsFor } from './lib/inputs.ts';
import { BACKEND, completeJob, shell, waitUntil } from './lib/worker.ts';

/*
 * Web and beat beside the worker: they get the new code with it, and go back with it. A command runs
 * before the start, as the worker would.
 */

const CHECKOUT = '/root/slideshow';
const PORT = 8099;
const web = (version: string): string => `
import http.server

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if "broken" in "${version}" else 200)
        self.end_headers()
        self.wfile.write(b"${version}")

http.server.HTTPServer(("127.0.0.1", ${PORT}), Page).serve_forever()
`;
const migrate = (code: string): string => `
import os, pathlib
print("migrating in", os.getcwd())
${code}
`;
const unit = (exec: string): string =>
  `[Service]\nWorkingDirectory=${BACKEND}\nExecStart=${exec}\n[Install]\nWantedBy=multi-user.target\n`;
const units = {
  'shop-web': unit('/usr/bin/python3 web.py'),
  'shop-beat': unit('/usr/bin/celery -A celery_app beat -s /run/shop-beat'),
  'shop-idle': unit('/usr/bin/python3 web.py'),
};

let machine: Machine;
let clone: Clone;

beforeAll(async () => {
  machine = await startMachine({ name: 'companions', state: 'environment' });
});

beforeEach(async () => {
  await machine.reset();
  const files = Object.entries({
    [`${BACKEND}/web.py`]: web('one'),
    [`${BACKEND}/migrate.py`]: migrate(''),
    ...Object.fromEntries(
      Object.entries(units).map(([name, text]) => [`/etc/systemd/system/${name}.service`, text]),
    ),
  });
  for (const [path, text] of files) await shell(machine, `cat > ${path} <<'END'\n${text}END`);
  const git = `git -C ${CHECKOUT} -c user.name=t -c user.email=t@localhost`;
  await shell(machine, `${git} add -A && ${git} commit -qm 'Add web'`);
  await shell(machine, 'systemctl daemon-reload && systemctl enable --now shop-web shop-beat');
  await waitUntil('web answers', async () => (await page()) === 'one');
  clone = await Clone.of(machine, CHECKOUT);
});

afterEach(() => clone?.[Symbol.dispose]());
afterAll(() => machine?.stop());

const deploy = (inputs: Inputs = {}, options: BundleOptions = {}): Promise<BundleRun> =>
  runBundle(
    'deploy-worker',
    inputsFor(machine, {
      'min-healthy-time': '2s',
      'also-restart': `shop-web http://127.0.0.1:${PORT}/, shop-beat.service, shop-idle`,
      ...('roll-back' in inputs ? {} : { source: 'git' }),
      ...inputs,
    }),
    {
      env: { GITHUB_WORKSPACE: clone.folder, GITHUB_SHA: clone.git('rev-parse', 'HEAD') },
      ...options,
    },
  );

/** What web answers; empty while it does not. */
const page = () =>
  shell(
    machine,
    `python3 -c "import urllib.request as u; print(u.urlopen('http://127.0.0.1:${PORT}/').read().decode())" 2>/dev/null || true`,
  );
const mainOf = (name: string) => shell(machine, `systemctl show --value -p MainPID ${name}`);
const beats = () => shell(machine, "pgrep -fc '[c]elery -A celery_app beat' || true");

/** Without the shells that start it. */
const beatPids = async (): Promise<readonly string[]> => {
  const found = await shell(machine, "pgrep -f '[p]ython3.*celery -A celery_app beat' || true");
  return found.split('\n').filter((pid) => pid !== '');
};

test('web and beat get the new code after the worker, and go back with it', async () => {
  const beat = await mainOf('shop-beat.service');
  clone.commit('Second', {
    'backend/web.py': web('two'),
    'backend/migrate.py': migrate('pathlib.Path("migrated").write_text("yes")'),
  });
  await shell(
    machine,
    `setsid nohup sh -c 'while sleep 0.02; do pgrep -fc "[c]elery -A celery_app beat"; done >/run/beats' >/dev/null 2>&1 </dev/null & echo $! >/run/counter`,
  );
  const done = await deploy({ 'before-start': 'python3 migrate.py' });
  expect(done.code, done.log).toBe(0);
  expect(done.log).toContain(`migrating in ${BACKEND}`);
  expect(done.log).toMatch(/shop-web\.service restarted, [0-9.]+ s down, stable for 2 s/);
  expect(done.log).toContain('shop-idle.service is inactive, so it is not restarted');
  expect(await shell(machine, `cat ${BACKEND}/migrated`)).toBe('yes');
  expect(await page()).toBe('two');
  expect(await mainOf('shop-beat.service')).not.toBe(beat);
  expect(await beats()).toBe('1');
  // Never twice, in all of that time. Its absence may be too short to be seen: systemd noted it.
  const counts = await shell(machine, 'kill $(cat /run/counter); sort -u /run/beats');
  expect(counts).toMatch(/^(0\n)?1$/);
  const [ended = 0, begun = 0] = await Promise.all(
    ['InactiveEnter', 'InactiveExit'].map(async (moment) =>
      Number(
        await shell(machine, `systemctl show --value -p ${moment}TimestampMonotonic shop-beat`),
      ),
    ),
  );
  expect(ended).toBeGreaterThan(0);
  expect(begun).toBeGreaterThanOrEqual(ended);
  await completeJob(machine);

  const again = await deploy();
  expect(again.code, again.log).toBe(0);
  expect(again.outputs.changed).toBe('false');

  const back = await deploy({ 'roll-back': '0' });
  expect(back.code, back.log).toBe(0);
  await waitUntil('web answers as before', async () => (await page()) === 'one');
  expect(await beats()).toBe('1');
  expect(back.log).toContain('what `python3 migrate.py` did is not undone');
  await completeJob(machine);
});

test('a unit that fails with the new code takes the release back', async () => {
  clone.commit('Broken web', { 'backend/web.py': web('broken') });
  const failed = await deploy({ 'start-timeout': '12s' });
  expect(failed.code, failed.log).toBe(1);
  expect(failed.log).toContain(`http://127.0.0.1:${PORT}/ gives status 500`);
  expect(await page()).toBe('one');
  expect(await shell(machine, `git -C ${CHECKOUT} status --porcelain --untracked-files=no`)).toBe(
    '',
  );
  await completeJob(machine);
});

test('a command that fails leaves the old code, and the worker serves', {
  tags: ['nightly'],
}, async () => {
  const before = await mainOf('shop-web.service');
  clone.commit('Bad migration', {
    'backend/web.py': web('two'),
    'backend/migrate.py': migrate('raise SystemExit("no such column: links.owner")'),
  });
  const failed = await deploy({ 'before-start': 'python3 migrate.py' });
  expect(failed.code, failed.log).toBe(1);
  expect(failed.log).toContain('`python3 migrate.py` failed (exit code 1): no such column');
  expect(await shell(machine, `git -C ${CHECKOUT} log -1 --format=%s`)).toBe('Add web');
  expect(await mainOf('shop-web.service')).toBe(before);
  await completeJob(machine);
});

test('a command that fails leaves a worker with the support module running', {
  tags: ['nightly'],
}, async () => {
  const first = await deploy();
  expect(first.code, first.log).toBe(0);
  const main = await mainOf('celery-worker.service');
  clone.commit('Bad migration', { 'backend/migrate.py': migrate('raise SystemExit("no")') });
  const failed = await deploy({ 'before-start': 'python3 migrate.py' });
  expect(failed.code, failed.log).toBe(1);
  expect(await mainOf('celery-worker.service')).toBe(main);
  await completeJob(machine);
});

test('units that run from the same checkout are named', { tags: ['nightly'] }, async () => {
  clone.commit('Second', { 'backend/web.py': web('two') });
  const done = await deploy({ 'also-restart': 'shop-beat' });
  expect(done.code, done.log).toBe(0);
  expect(done.log).toContain('shop-web.service also runs from this code and keeps the old one');
  expect(await page()).toBe('one');
  const back = await deploy({ 'also-restart': '', 'roll-back': 'previous' });
  expect(back.code, back.log).toBe(0);
  expect(back.log).toContain('shop-web.service also runs from this code and keeps what it has');
  expect(back.log).not.toContain('shop-beat.service also runs');
});

test('beat never runs twice, though its unit leaves it when it stops', {
  tags: ['nightly'],
}, async () => {
  // The shell is the main process; systemd ends that alone.
  await shell(
    machine,
    `mkdir -p /etc/systemd/system/shop-beat.service.d
     printf '[Service]\\nKillMode=process\\nExecStart=\\nExecStart=/bin/sh -c "celery -A celery_app beat -s /run/shop-beat; exit 1"\\n' >/etc/systemd/system/shop-beat.service.d/shell.conf
     systemctl kill --kill-whom=all shop-beat; systemctl daemon-reload; systemctl restart shop-beat`,
  );
  await waitUntil('beat runs', async () => (await beatPids()).length === 1);
  const [first] = await beatPids();
  clone.commit('Second', { 'backend/web.py': web('two') });
  const done = await deploy();
  expect(done.code, done.log).toBe(0);
  const second = await beatPids();
  expect(second).toHaveLength(1);
  expect(second).not.toEqual([first]);

  const back = await deploy({ 'roll-back': '0' });
  expect(back.code, back.log).toBe(0);
  expect(await beatPids()).toHaveLength(1);
  expect(await beatPids()).not.toEqual(second);
  expect(await shell(machine, 'systemctl is-active shop-beat')).toBe('active');
});

test('work that is killed while a unit is stopped is undone by the host', {
  tags: ['nightly'],
}, async () => {
  await shell(
    machine,
    `mkdir -p /etc/systemd/system/shop-beat.service.d
     printf '[Service]\\nExecStop=/bin/sleep 4\\n' >/etc/systemd/system/shop-beat.service.d/slow.conf
     systemctl daemon-reload`,
  );
  clone.commit('Second', { 'backend/web.py': web('two') });
  let killed: Promise<unknown> | undefined;
  const run = await deploy(
    {},
    {
      onLog: (text) => {
        if (!/^\s*\d+\/\d+ restart shop-beat\.service$/m.test(text)) return;
        killed ??= shell(machine, "sleep 1; pkill -9 -f '[c]arry-out'");
      },
    },
  );
  await killed;
  expect(killed, run.log).toBeDefined();
  expect(run.code, run.log).toBe(1);
  await waitUntil('web answers as before', async () => (await page()) === 'one');
  await waitUntil('beat runs', async () => (await beats()) === '1');
  expect(await shell(machine, `git -C ${CHECKOUT} log -1 --format=%s`)).toBe('Add web');
  await completeJob(machine);
  expect(run.log).toContain('the host is as it was before');
});
