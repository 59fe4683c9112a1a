import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { Clone } from '../host/lib/clone.ts';
import { CHECKOUT, moveToShop } from '../host/lib/shop.ts';
import { shell, UNIT } from '../host/lib/worker.ts';
import { runWorkflow, type WorkflowHost, type WorkflowRun } from '../lib/act.ts';
import { CommentsApi } from '../lib/comments-api.ts';
import { resultsOf } from './deploy-host.ts';

const root = join(import.meta.dirname, '../..');
const cli = join(root, 'cli/dist/index.js');
const database = `${CHECKOUT}/backend/batch_processing.db`;
const keys = mkdtempSync(join(tmpdir(), 'celeriac-plan-'));
/** What the commit of a hostile pull request says of itself. */
const subject = 'Mend the feed, @everyone, see #12 ``` <img src=x>';

let machine: Machine;
let repository: Clone;
let api: CommentsApi;
/** Short hashes by what they are. */
const commits: Record<string, string> = {};

/** A hardened host, and a repository of its app: main is ahead of the host, and a branch is to be merged. */
beforeAll(async () => {
  machine = await startMachine({ name: 'workflow-plan', state: 'environment' });
  api = await CommentsApi.open();
  await moveToShop(machine);
  await shell(machine, `systemctl start ${UNIT}`);
  for (const name of ['pipeline', 'plan']) {
    const words = ['-q', '-t', 'ed25519', '-N', '', '-C', 'ci', '-f', join(keys, name)];
    execFileSync('ssh-keygen', words);
  }
  const login = ['--ssh-key-file', machine.keyPath, '--known-hosts-file', machine.knownHostsPath];
  const at = ['--host', machine.host, '--port', String(machine.sshPort)];
  const key = (name: string): string => join(keys, `${name}.pub`);
  for (const words of [
    ['--units', UNIT, '--source', 'git', '--public-key-file', key('pipeline')],
    ['--read-user', 'celeriac-plan', '--read-key-file', key('plan')],
  ]) {
    execFileSync(process.execPath, [cli, 'harden', ...words, ...at, ...login], { stdio: 'pipe' });
  }
  const stuck = `INSERT INTO jobs (id, status, created_at) VALUES ('stuck-one', 'processing', datetime('now', '-2 days'))`;
  await machine.run(`runuser -u shop -- sqlite3 ${database} "${stuck}"`);

  repository = await Clone.of(machine, CHECKOUT, 'shop');
  const main = repository.git('branch', '--show-current');
  commits.host = repository.git('rev-parse', 'HEAD');
  repository.git('checkout', '-q', '-b', 'feature');
  commits.head = repository.commit(subject, { 'backend/change.txt': 'new\n' });
  repository.git('checkout', '-q', main);
  commits.main = repository.commit('Merged before', { 'backend/other.txt': 'new\n' });
  repository.git('checkout', '-q', '-b', 'trial');
  repository.git('merge', '-q', '--no-ff', '-m', 'Merge feature into main', 'feature');
  commits.trial = repository.git('rev-parse', 'HEAD');
  for (const name of ['.github/workflows', 'actions']) {
    cpSync(join(root, name), join(repository.folder, name), { recursive: true });
  }
});
afterAll(async () => {
  rmSync(keys, { recursive: true, force: true });
  repository?.[Symbol.dispose]();
  await api?.[Symbol.asyncDispose]();
  await machine?.stop();
});

/** With the key that may only look. */
const planHost = (): WorkflowHost => {
  const { host, sshPort, knownHosts } = machine;
  return { host, sshPort, knownHosts, key: readFileSync(join(keys, 'plan'), 'utf8') };
};

const variables = {
  CELERIAC_PLAN_USER: 'celeriac-plan',
  CELERIAC_SOURCE: 'git',
  CELERIAC_CONCURRENCY: '1',
  CELERIAC_MEMORY_MAX: '800M',
  CELERIAC_MEMORY_HIGH: '600M',
};

/** plan.yml for a pull request from a branch of this repository. */
function plan(
  from = 'someone/slideshow',
  more: Readonly<Record<string, string>> = {},
): Promise<WorkflowRun> {
  return runWorkflow('plan.yml', 'pull_request', planHost(), {
    repository: repository.folder,
    variables: { ...variables, ...more },
    event: {
      pull_request: {
        number: 7,
        head: { sha: commits.head, ref: 'feature', repo: { full_name: from } },
        base: { ref: 'main' },
        user: { login: 'anna' },
      },
    },
    env: { GITHUB_REPOSITORY: 'someone/slideshow', GITHUB_API_URL: api.url },
    token: api.token,
  });
}

/** Without what differs from run to run. */
function steady(body: string): string {
  const named = Object.entries(commits).reduce(
    (text, [name, commit]) =>
      text.replaceAll(commit, `(${name})`).replaceAll(commit.slice(0, 7), `(${name})`),
    body,
  );
  return (
    named
      .replaceAll(machine.host, 'vps.example.com')
      .replace(/\(https?:[^)]*\/actions\/runs\/[^)]*\)/g, '(https://forge.test/the-run)')
      .replace(/https?:\S*\/docs\//g, 'docs/')
      .replace(/\b\d+(?:\.\d+)? (?:[KMG]i)?B to transfer/g, 'some bytes to transfer')
      .replace(/(lib\/celeriac\/)[0-9a-f]{12}/g, '$1(module)')
      // Of the machine that the tests run on.
      .replace(/^- this host (?:uses cgroup|is a container).*\n/gm, '')
  );
}

const state = () =>
  shell(
    machine,
    `sha256sum /etc/systemd/system/${UNIT} /etc/fstab; runuser -u shop -- git -C ${CHECKOUT} rev-parse HEAD
     systemctl show ${UNIT} -p MainPID,NRestarts; ls /var/lib/celeriac/transactions
     runuser -u shop -- sqlite3 ${database} 'SELECT * FROM jobs'`,
  );

it('comments what merging changes, by a read-only key, and changes nothing', async () => {
  api.comments.length = 0;
  const before = await state();
  const run = await plan();
  expect(run.code, run.lines.join('\n')).toBe(0);
  expect(await state()).toBe(before);
  expect(api.comments).toHaveLength(1);
  const [comment] = api.comments;
  await expect(steady(comment?.body ?? '')).toMatchFileSnapshot(
    join(root, 'test/fixtures/plan-comments/by-act.md'),
  );
  expect(comment?.body).not.toMatch(/PRIVATE KEY|ghs_/);
});

it('comments why there is no plan, and is red', async () => {
  api.comments.length = 0;
  const run = await plan('someone/slideshow', { CELERIAC_UNIT: 'ssh' });
  expect(run.code).toBe(1);
  expect(api.comments).toHaveLength(1);
  const [{ body } = { body: '' }] = api.comments;
  expect(body).toContain('**No plan of deploy-worker:**');
  expect(body).toContain('refused by /etc/celeriac/policy.json: units: ssh.service');
});

it('plans each host of a fleet file, known by its own keys if it has some', async () => {
  const { host, sshPort: port, knownHosts } = machine;
  // Another name of the same machine: its last two numbers as one.
  const alias = host.replace(/(\d+)\.(\d+)$/, (_, high, low) => String(256 * high + Number(low)));
  const [kind = '', blob = ''] = readFileSync(join(keys, 'plan.pub'), 'utf8').split(' ');
  const foreign = knownHosts.replace(/^(\S+) \S+ \S+$/gm, `$1 ${kind} ${blob}`);
  const hosts = { web1: { host, port, 'known-hosts': knownHosts }, web2: { host: alias, port } };
  const file = join(repository.folder, '.github/fleet.yml');
  writeFileSync(file, stringify({ hosts }));
  api.comments.length = 0;
  const before = await state();
  try {
    const run = await plan(undefined, {
      CELERIAC_HOST: '',
      CELERIAC_PORT: '',
      // For web1 these are the wrong ones.
      CELERIAC_KNOWN_HOSTS: `${foreign.trim()}\n${knownHosts.replaceAll(host, alias)}`,
    });
    expect(run.code, run.lines.join('\n')).toBe(0);
  } finally {
    rmSync(file);
  }
  expect(await state()).toBe(before);
  expect(api.comments).toHaveLength(1);
  const [{ body } = { body: '' }] = api.comments;
  expect(body.match(/^#+ .*web[12].*$/gm), body).toHaveLength(2);
  expect(body).not.toContain('No plan');
});

it('runs no step with a key for a fork, and says why', async () => {
  const before = api.requests.length;
  const run = await plan('somebody-else/slideshow');
  expect(run.code, run.lines.join('\n')).toBe(0);
  expect(resultsOf(run)).toEqual({ 'Say why': 'success' });
  expect(run.summaries.join('\n')).toContain('Pull requests from forks');
  expect(api.requests).toHaveLength(before);
});

it('has a doctor that changes nothing, and says what to do', async () => {
  const before = await state();
  const run = await runWorkflow('doctor.yml', 'workflow_dispatch', planHost(), {
    repository: repository.folder,
    variables,
  });
  expect(await state()).toBe(before);
  const log = run.lines.join('\n');
  expect(resultsOf(run), log).toMatchObject({ Swap: 'success', Rules: 'success' });
  expect(log).not.toMatch(/Confirmed|sent to/);
  const advice = run.summaries.find((text) => text.includes('### What to do')) ?? '';
  expect(advice.match(/^- .*$/gm), advice).toHaveLength(2);
  expect(advice).toContain('run *deploy* to make the changes');
  expect(advice).not.toContain('could not be checked');
});
