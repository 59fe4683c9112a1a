import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import type { ActionName } from '../../src/config/action-inputs.ts';
import { type BundleOptions, type BundleRun, runBundle } from '../lib/bundle.ts';
import { Clone } from './lib/clone.ts';
import { type Inputs, inputsFor, taskListLimits } from './lib/inputs.ts';
import { expectOneError } from './lib/one-error.ts';
import { CHECKOUT, moveToShop } from './lib/shop.ts';
import { readRows, SUPPORT, shell, show, UNIT, waitUntil } from './lib/worker.ts';

const DATABASE = `${CHECKOUT}/backend/batch_processing.db`;
const AGENT = '/usr/local/lib/celeriac/agent';
const program = join(import.meta.dirname, '../../cli/dist/index.js');

let machine: Machine;
let clone: Clone;
const folder = mkdtempSync(join(tmpdir(), 'celeriac-hardened-'));
const keyFile = join(folder, 'pipeline');
const planKeyFile = join(folder, 'plan');

/** The app runs as a user of its own, from a checkout of its own. */
beforeAll(async () => {
  machine = await startMachine({ name: 'hardened', state: 'environment' });
  for (const file of [keyFile, planKeyFile]) {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'ci', '-f', file]);
  }
  await moveToShop(machine);
  await shell(machine, `systemctl start ${UNIT}`);
  clone = await Clone.of(machine, CHECKOUT, 'shop');
});

afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  clone?.[Symbol.dispose]();
  await machine?.stop();
});

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function run(command: string, words: readonly string[], input = ''): Promise<Ended> {
  const child = spawn(command, words, { stdio: ['pipe', 'pipe', 'pipe'] });
  const said = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said.out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said.err += text;
  });
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, ...said })));
}

/** The terminal's program, as root of the host. */
function celeriac(...words: readonly string[]): Promise<Ended> {
  const files = ['--ssh-key-file', machine.keyPath, '--known-hosts-file', machine.knownHostsPath];
  const host = ['--host', machine.host, '--port', String(machine.sshPort)];
  return run(process.execPath, [program, ...words, ...host, ...files]);
}

/** OpenSSH with the key of the pipeline; what follows the address is a command. */
function ssh(words: readonly string[], input = '', program = 'ssh'): Promise<Ended> {
  const hosts = ['-o', `UserKnownHostsFile=${machine.knownHostsPath}`, '-o', 'BatchMode=yes'];
  const options = ['-i', keyFile, '-o', `Port=${machine.sshPort}`, '-o', 'IdentitiesOnly=yes'];
  return run(program, [...options, ...hosts, ...words], input);
}

interface Login {
  readonly user?: string;
  readonly keyFile?: string;
  readonly agent?: string;
  readonly onStart?: BundleOptions['onStart'];
}

/** An action with the key of the pipeline: it is bound to the installed agent. */
function act(action: ActionName, more: Inputs = {}, login: Login = {}): Promise<BundleRun> {
  const { user = 'celeriac', agent = 'installed', onStart } = login;
  const key = readFileSync(login.keyFile ?? keyFile, 'utf8');
  return runBundle(
    action,
    { ...inputsFor(machine, more), user, agent, 'ssh-key': key },
    {
      env: { GITHUB_WORKSPACE: clone.folder, GITHUB_SHA: clone.git('rev-parse', 'HEAD') },
      ...(onStart && { onStart }),
    },
  );
}

async function succeed(
  action: ActionName,
  more: Inputs = {},
  login: Login = {},
): Promise<BundleRun> {
  const done = await act(action, more, login);
  expect(done.code, done.log).toBe(0);
  return done;
}

/** Everything that hardened mode may touch, beside the journal. */
const traces = () =>
  shell(
    machine,
    `getent passwd; getent group
     find /home /etc/sudoers.d /etc/celeriac /usr/local/lib -printf '%p %U:%G %m\\n' 2>/dev/null | sort
     cat /etc/sudoers.d/*`,
  );

const head = () => shell(machine, `runuser -u shop -- git -C ${CHECKOUT} rev-parse HEAD`);

const hardening = ['harden', '--units', UNIT, '--source', 'git'] as const;
const deploying = {
  'min-healthy-time': '2s',
  source: 'git',
  'soak-hours': '0.001',
  ...taskListLimits,
};

test('a key that is not root deploys, verifies, cleans up and rolls back, and nothing else', async () => {
  const before = await traces();
  await dryRunAndPrint(before);
  await harden();
  await hasNoShell();
  const original = clone.git('rev-parse', 'HEAD');
  await provision();
  await deploy();
  await soak();
  await cleanUp();
  await loseTheAgent();
  await lookOnly();
  await isRefusedElsewhere();
  await rollBack(original);
  await updateAndRefuseOthers();
  await unharden(before);
});

/** Shows everything, with diffs, and changes nothing. */
async function dryRunAndPrint(before: string): Promise<void> {
  const words = [...hardening, '--public-key-file', `${keyFile}.pub`];
  const dry = await celeriac(...words, '--dry-run');
  expect(dry.code, dry.err).toBe(3);
  expect(dry.out).toContain('+  "appUser": "shop",');
  expect(dry.out).toContain(`+    "${DATABASE}"`);
  expect(dry.out).toContain(`+celeriac ALL=(root) NOPASSWD: ${AGENT} ""`);
  expect(dry.out).toContain(`+restrict,command="sudo -n ${AGENT}" ssh-ed25519 `);
  const printed = await celeriac(...words, '--print');
  expect(printed.code, printed.err).toBe(3);
  expect(await traces()).toBe(before);
  const missing = await celeriac(...hardening);
  expect([missing.code, missing.err]).toEqual([2, expect.stringContaining('--public-key-file')]);
  // Typed by hand, it is the same: then there is nothing to do.
  await machine.writeFile('/root/harden.sh', printed.out);
  await shell(machine, 'sh /root/harden.sh');
  const after = await celeriac(...words);
  expect([after.code, after.out]).toEqual([0, expect.stringContaining('Nothing to do')]);
  const back = await celeriac('unharden', '--print');
  await machine.writeFile('/root/unharden.sh', back.out);
  await shell(machine, 'sh /root/unharden.sh; rm /root/harden.sh /root/unharden.sh');
  expect(await traces()).toBe(before);
}

async function harden(): Promise<void> {
  const first = await celeriac(...hardening, '--public-key-file', `${keyFile}.pub`);
  expect(first.code, first.err).toBe(0);
  expect(first.out).toContain('Done: 7 operations');
  expect(await shell(machine, 'stat -c "%U %a" /etc/sudoers.d/celeriac')).toBe('root 440');
  expect(await shell(machine, `find /home/celeriac /etc/celeriac ${AGENT} ! -user root`)).toBe('');
  const again = await celeriac('harden');
  expect([again.code, again.out]).toEqual([0, expect.stringContaining('Nothing to do')]);
}

/** No shell, no command, no terminal, no file transfer and no forwarding: only the agent. */
async function hasNoShell(): Promise<void> {
  const bye = '{"id":1,"ask":"bye","protocol":1}\n';
  const where = `celeriac@${machine.host}`;
  const hello = /^\{"hello":"celeriac".*"hardened":true.*\}\n$/;
  for (const words of [[where], ['-T', where], [where, 'touch /tmp/was-here; id']]) {
    expect((await ssh(words, bye)).out).toMatch(hello);
  }
  const tty = await ssh(['-tt', where], bye);
  expect(tty.err).toContain('PTY allocation request failed');
  expect(tty.out).not.toMatch(/[$#] /);
  const sftp = await ssh([where], 'ls\n', 'sftp');
  expect([sftp.code, sftp.out]).not.toEqual([0, expect.anything()]);
  const tunnel = await ssh(['-W', '127.0.0.1:6379', where], 'PING\r\n');
  expect(tunnel.out).not.toContain('PONG');
  expect(tunnel.err).toContain('administratively prohibited');
  const remote = await ssh(['-o', 'ExitOnForwardFailure=yes', '-N', '-R', '0:127.0.0.1:22', where]);
  expect([remote.code, remote.err]).toEqual([255, expect.stringContaining('forwarding failed')]);
  // As the user itself, by whatever way: nothing but the agent, and nothing of its own to change.
  const asUser = (command: string) =>
    machine.run(`runuser -u celeriac -- sh -c '${command}'`, { allowFailure: true });
  for (const command of [
    'sudo -n id',
    `sudo -n ${AGENT} --help`,
    `sudo -n -u shop ${AGENT}`,
    'echo x >>~/.ssh/authorized_keys',
    'mv ~/.ssh ~/.old',
    `echo x >>${AGENT}`,
    'cat /var/lib/celeriac/releases.jsonl',
  ]) {
    const ended = await asUser(command);
    expect([command, ended.code]).not.toEqual([command, 0]);
  }
  expect(await shell(machine, 'ls /tmp/was-here 2>/dev/null || echo none')).toBe('none');
}

/** As the pipeline does, though only the host of a container can turn swap on. */
async function provision(): Promise<void> {
  const done = await succeed('provision', { 'swap-size': '2G' });
  expect(done.log).toContain('swap: skipped: this is a container');
}

/** A bundle of Git, the unit, the support module; then the gate, which confirms the release. */
async function deploy(): Promise<void> {
  const wanted = clone.commit('A change', { 'backend/change.txt': 'new\n' });
  const dry = await succeed('deploy-worker', { ...deploying, 'dry-run': 'true' });
  expect(dry.log).toContain('Dry run:');
  const done = await succeed('deploy-worker', deploying);
  expect(done.outputs.changed, done.log).toBe('true');
  expect(done.log).toMatch(/1 handshake, 1 exec, \d+ messages/);
  expect(await head()).toBe(wanted);
  expect(await shell(machine, `find ${CHECKOUT} ! -user shop`)).toBe('');
  expect(await shell(machine, `ls ${SUPPORT}`)).toBe(SUPPORT);
  expect(await show(machine, 'ActiveState', 'User')).toEqual({
    ActiveState: 'active',
    User: 'shop',
  });
  const gate = await succeed('verify', { concurrency: '1', 'max-429': '100' });
  expect(gate.outputs.healthy).toBe('true');
  expect(gate.log).toContain('Confirmed: transaction');
  const again = await succeed('deploy-worker', deploying);
  expect(again.outputs.changed, again.log).toBe('false');
}

/** Judged and recorded by the key that is not root, which then has the sampler stopped. */
async function soak(): Promise<void> {
  const samples = { mode: 'soak', 'soak-hours': '0.001' };
  await waitUntil('the release is proven', async () => {
    // What the timer does once a minute.
    await shell(machine, 'systemctl start celeriac-sampler.service');
    return (await succeed('verify', samples)).outputs.soak === 'proven';
  });
  await waitUntil('nothing is sampled', async () => {
    const timer = 'systemctl is-active celeriac-sampler.timer || true';
    return (await shell(machine, timer)) === 'inactive';
  });
}

async function cleanUp(): Promise<void> {
  const add = `INSERT INTO jobs (id, status, created_at) VALUES ('stuck-one', 'processing', datetime('now', '-2 days'))`;
  await machine.run(`runuser -u shop -- sqlite3 ${DATABASE} "${add}"`);
  const done = await succeed('cleanup', { 'confirm-after': 'off' });
  expect(done.outputs.repaired, done.log).toBe('1');
  const { jobs = [] } = await readRows(machine, DATABASE);
  expect(jobs.find(({ id }) => id === 'stuck-one')?.status).toBe('failed');
}

/** The transaction goes on without its agent; the action follows it with a new one. */
async function loseTheAgent(): Promise<void> {
  const kill = `touch /tmp/mark; for each in $(seq 600); do
      if find /run/celeriac -name '*.jsonl' -newer /tmp/mark | grep -q .; then
        pkill -KILL -f ^/usr/bin/python3.*${AGENT}; exit 0; fi
      sleep 0.1; done; exit 1`;
  const killed = shell(machine, kill);
  const done = await succeed('deploy-worker', { ...deploying, restart: 'always' });
  await killed;
  expect(done.log).toContain('reconnected: following the transaction on the host');
  expect(done.log).toMatch(/2 handshakes, 2 execs/);
  expect(done.outputs.changed).toBe('true');
  await succeed('verify', { 'max-429': '100' });
}

/** A second key, for plans on pull requests. */
async function lookOnly(): Promise<void> {
  const plan = { user: 'celeriac-plan', keyFile: planKeyFile };
  const words = ['--read-user', plan.user, '--read-key-file', `${planKeyFile}.pub`];
  const added = await celeriac('harden', ...words);
  expect(added.code, added.err).toBe(0);
  expect(added.out).toContain('+  "readers": [');
  clone.commit('Another change', { 'backend/change.txt': 'newer\n' });
  const dry = await succeed('deploy-worker', { ...deploying, 'dry-run': 'true' }, plan);
  expect(dry.log).toContain('Dry run: 10 operations planned');
  const before = await head();
  const refused = await act('deploy-worker', deploying, plan);
  expectOneError(refused);
  expect(refused.log).toContain('access');
  expect(await head()).toBe(before);
}

/** What the policy does not name is refused with its rule, and nothing is changed. */
async function isRefusedElsewhere(): Promise<void> {
  const states = () => shell(machine, 'systemctl show ssh redis-server -p ActiveState,MainPID');
  const before = await states();
  for (const [action, inputs, rule] of [
    ['deploy-worker', { unit: 'ssh.service' }, 'units: ssh.service'],
    ['cleanup', { database: '/srv/other.db' }, 'databases: /srv/other.db'],
    ['verify', { 'http-probes': 'http://127.0.0.1/' }, 'urls: http://127.0.0.1/'],
  ] as const) {
    const refused = await act(action, inputs);
    expectOneError(refused);
    expect(refused.log).toContain(`refused by /etc/celeriac/policy.json: ${rule}`);
  }
  const journal = await shell(machine, 'journalctl --sync; journalctl -t celeriac -o cat');
  expect(journal).toContain('celeriac, session');
  expect(journal).toMatch(/is refused: .*ssh\.service/);
  expect(await states()).toBe(before);
}

async function rollBack(original: string): Promise<void> {
  const back = await succeed('deploy-worker', { 'roll-back': '0' });
  expect(back.outputs.changed, back.log).toBe('true');
  expect(await head()).toBe(original);
  expect(await show(machine, 'ActiveState')).toEqual({ ActiveState: 'active' });
}

/** The key cannot install an agent; its owner can, and the errors say so. */
async function updateAndRefuseOthers(): Promise<void> {
  const streamed = await act('verify', {}, { agent: 'streamed' });
  expectOneError(streamed);
  expect(streamed.log).toContain('set the input `agent` to `installed`');
  await shell(machine, `cp ${AGENT} /root/agent; echo '# older' >>${AGENT}`);
  const update = await celeriac('harden');
  expect([update.code, update.out]).toEqual([0, expect.stringContaining('install agent')]);
  expect(await shell(machine, `cmp ${AGENT} /root/agent; rm /root/agent`)).toBe('');
  await shell(machine, 'mv /etc/sudoers.d/celeriac /root/line');
  const shut = await act('verify');
  expectOneError(shut);
  expect(shut.log).toContain('sudo does not let celeriac run it');
  expect(shut.log).toContain(`celeriac harden --host ${machine.host}`);
  await shell(machine, 'mv /root/line /etc/sudoers.d/celeriac');
  // A mistake in sudoers would lock everybody out: it is noticed first, and nothing is written.
  await shell(
    machine,
    `rm /etc/sudoers.d/celeriac; echo 'nonsense here' >/etc/sudoers.d/zz-broken`,
  );
  const broken = await celeriac('harden');
  expect([broken.code, broken.err]).toEqual([2, expect.stringContaining('visudo finds an error')]);
  await shell(machine, 'rm /etc/sudoers.d/zz-broken');
  expect((await celeriac('harden')).code).toBe(0);
}

async function unharden(before: string): Promise<void> {
  const dry = await celeriac('unharden', '--dry-run');
  expect([dry.code, dry.out]).toEqual([3, expect.stringContaining('remove the system user')]);
  const done = await celeriac('unharden');
  expect(done.code, done.err).toBe(0);
  expect(await traces()).toBe(before);
  const again = await celeriac('unharden');
  expect([again.code, again.out]).toEqual([0, expect.stringContaining('Nothing to do')]);
}
