import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { type BundleRun, runBundle } from '../lib/bundle.ts';
import { Clone } from './lib/clone.ts';
import { type Inputs, inputsFor, taskListLimits } from './lib/inputs.ts';
import { expectOneError } from './lib/one-error.ts';
import { CHECKOUT, moveToShop } from './lib/shop.ts';
import { shell, show, UNIT, UNIT_PATH } from './lib/worker.ts';

/** Which code a key in hardened mode can deploy: signed commits, uploaded folders. */

const BASE = '/srv/shop-code';
const program = join(import.meta.dirname, '../../cli/dist/index.js');
const folder = mkdtempSync(join(tmpdir(), 'celeriac-hardened-code-'));
/** Of the pipeline; of who merges; of somebody else. */
const [keyFile, signerFile, otherFile] = ['pipeline', 'signer', 'other'].map((name) =>
  join(folder, name),
) as [string, string, string];
const signersFile = join(folder, 'allowed_signers');

let machine: Machine;
let clone: Clone;
let original: string;

beforeAll(async () => {
  machine = await startMachine({ name: 'hardened-code', state: 'environment' });
  for (const file of [keyFile, signerFile, otherFile]) {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'ci', '-f', file]);
  }
  const key = readFileSync(`${signerFile}.pub`, 'utf8').split(' ').slice(0, 2).join(' ');
  writeFileSync(signersFile, `anna@example.com namespaces="git" ${key}\n`);
  clone = await Clone.of(machine, '/root/slideshow');
  original = clone.git('rev-parse', 'HEAD');
});

beforeEach(async () => {
  await machine.reset();
  clone.git('reset', '-q', '--hard', original);
  await moveToShop(machine);
});

afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  clone?.[Symbol.dispose]();
  await machine?.stop();
});

/** The terminal's program, as root of the host. */
function harden(...words: readonly string[]): void {
  const files = ['--ssh-key-file', machine.keyPath, '--known-hosts-file', machine.knownHostsPath];
  const host = ['--host', machine.host, '--port', String(machine.sshPort)];
  const given = ['harden', '--units', UNIT, '--public-key-file', `${keyFile}.pub`, ...words];
  execFileSync(process.execPath, [program, ...given, ...host, ...files], { stdio: 'pipe' });
}

/** Deploys the newest commit of the clone with the key of the pipeline. */
function deploy(inputs: Inputs): Promise<BundleRun> {
  const asked = { 'min-healthy-time': '2s', ...taskListLimits, ...inputs };
  const login = { user: 'celeriac', agent: 'installed', 'ssh-key': readFileSync(keyFile, 'utf8') };
  return runBundle(
    'deploy-worker',
    { ...inputsFor(machine, asked), ...login },
    { env: { GITHUB_WORKSPACE: clone.folder, GITHUB_SHA: clone.git('rev-parse', 'HEAD') } },
  );
}

/** Signs the newest commit, as a person who merges. */
function sign(file: string): string {
  const settings = ['-c', 'gpg.format=ssh', '-c', `user.signingkey=${file}`];
  clone.git(...settings, 'commit', '-q', '--amend', '--no-edit', '-S');
  return clone.git('rev-parse', 'HEAD');
}

const head = () => shell(machine, `runuser -u shop -- git -C ${CHECKOUT} rev-parse HEAD`);
const state = () =>
  shell(
    machine,
    `cat ${UNIT_PATH}; systemctl show ${UNIT} -p MainPID,ActiveState; find ${CHECKOUT} -newer /tmp/mark ! -name __pycache__`,
  );

test('with signers, a commit that none of them has signed changes nothing; a signed one is deployed', async () => {
  await shell(machine, `systemctl start ${UNIT}`);
  harden('--source', 'git', '--allowed-signers-file', signersFile);
  await shell(machine, 'touch /tmp/mark');
  const before = await state();
  const unsigned = clone.commit('A change', { 'backend/change.txt': 'new\n' });
  const refused = await deploy({ source: 'git' });
  expectOneError(refused);
  expect(refused.log).toContain('refused by /etc/celeriac/policy.json: signers: commit');
  expect(refused.log).toContain(unsigned.slice(0, 7));
  sign(otherFile);
  const foreign = await deploy({ source: 'git' });
  expectOneError(foreign);
  expect(foreign.log).toContain('refused by /etc/celeriac/policy.json: signers: commit');
  expect([await head(), await state()]).toEqual([original, before]);

  const signed = sign(signerFile);
  const done = await deploy({ source: 'git' });
  expect(done.code, done.log).toBe(0);
  expect(await head()).toBe(signed);
  expect(await show(machine, 'ActiveState', 'User')).toEqual({
    ActiveState: 'active',
    User: 'shop',
  });
  expect(await shell(machine, `find ${CHECKOUT} ! -user shop`)).toBe('');

  // An archive has no commit that could be signed.
  const uploaded = await deploy({ source: 'upload', 'deploy-to': BASE });
  expectOneError(uploaded);
  expect(uploaded.log).toContain('refused by /etc/celeriac/policy.json');
});

test('uploaded code goes to the folder of the policy, as the user of the app, and nowhere else', {
  tags: ['nightly'],
}, async () => {
  await shell(
    machine,
    `install -d -o shop -g shop ${BASE} ${BASE}/shared ${BASE}/shared/backend
     mv ${CHECKOUT}/backend/batch_processing.db* ${BASE}/shared/backend/
     sed -i 's#^WorkingDirectory=.*#WorkingDirectory=${BASE}/current/backend#' ${UNIT_PATH}
     systemctl daemon-reload`,
  );
  harden('--source', 'upload', '--deploy-to', BASE, '--databases', 'none');
  const uploading = {
    source: 'upload',
    'deploy-to': BASE,
    shared: 'backend/batch_processing.db',
    'keep-releases': '2',
  };
  const first = await deploy(uploading);
  expect(first.code, first.log).toBe(0);
  const where = () => shell(machine, `readlink ${BASE}/current`);
  expect(await where()).toBe(`releases/${original}`);
  const wanted = clone.commit('A change', { 'backend/change.txt': 'new\n' });
  const second = await deploy(uploading);
  expect(second.code, second.log).toBe(0);
  expect(await where()).toBe(`releases/${wanted}`);
  expect(await shell(machine, `find ${BASE} ! -user shop`)).toBe('');
  expect(await show(machine, 'ActiveState')).toEqual({ ActiveState: 'active' });

  await shell(machine, 'install -d -o shop /srv/elsewhere');
  for (const [inputs, rule] of [
    [{ ...uploading, 'deploy-to': '/srv/elsewhere' }, 'deployTo'],
    [{ source: 'git', checkout: CHECKOUT }, 'checkout'],
  ] as const) {
    const refused = await deploy(inputs);
    expectOneError(refused);
    expect(refused.log).toContain(`refused by /etc/celeriac/policy.json: ${rule}`);
  }
  expect(await shell(machine, 'ls -A /srv/elsewhere')).toBe('');
  const back = await deploy({ 'roll-back': '1' });
  expect(back.code, back.log).toBe(0);
  expect(await where()).toBe(`releases/${original}`);
});
