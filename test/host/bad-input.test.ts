import { execFile } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Machine, startMachine, type User } from '../../sandbox/machine.ts';
import type { ActionName } from '../../src/config/action-inputs.ts';
import { type BundleRun, runBundle } from '../lib/bundle.ts';
import { type Fingerprint, takeFingerprint } from '../lib/fingerprint.ts';
import { type Inputs, inputsFor } from './lib/inputs.ts';
import { countLogins, watchLogins } from './lib/logins.ts';
import { BACKEND, DATABASE } from './lib/worker.ts';

/**
 * One mistake of each kind that only the host can tell: it is reported in words, and the host is
 * left alone. What is refused without a host is tested in test/unit.
 */
interface BadInput {
  readonly is: string;
  readonly action: ActionName;
  readonly inputs: Inputs;
  readonly user?: User;
  /** What the error says is wrong, where, and what would have been right. */
  readonly says: readonly RegExp[];
}

const cases: readonly BadInput[] = [
  {
    is: 'cleanup: a damaged database',
    action: 'cleanup',
    inputs: { database: '/srv/bad/damaged.db' },
    says: [
      /damaged\.db is damaged/,
      /where: input database/,
      /expected: .*restore it from a backup/,
    ],
  },
  {
    is: 'verify: a text file as the database',
    action: 'verify',
    inputs: { database: '/srv/bad/text.db' },
    says: [
      /text\.db is not a SQLite database/,
      /where: input database/,
      /expected: the path of the SQLite file/,
    ],
  },
  {
    is: 'cleanup: an id that no row has',
    action: 'cleanup',
    inputs: { ids: 'deadbeef' },
    says: [/has the id 'deadbeef'/, /where: input ids/, /expected: a full id/],
  },
  {
    is: 'verify: a unit that does not exist',
    action: 'verify',
    inputs: { unit: 'no-such-worker' },
    says: [/no-such-worker\.service/, /where: input unit/, /expected: the name of a/],
  },
  {
    is: 'deploy-worker: a masked unit',
    action: 'deploy-worker',
    inputs: { unit: 'masked-worker' },
    says: [/masked-worker\.service.* masked/, /where: input unit/, /expected: /],
  },
  {
    is: 'deploy-worker: a unit that runs a shell',
    action: 'deploy-worker',
    inputs: { unit: 'shell-worker' },
    says: [
      /starts \/bin\/sh; cannot tell what it runs/,
      /where: input unit/,
      /expected: the celery command/,
    ],
  },
  {
    is: 'deploy-worker: a transaction that the host does not know',
    action: 'deploy-worker',
    inputs: { 'roll-back': '20260101T000000-abcd' },
    says: [/unknown transaction/, /where: input roll-back/, /expected: a transaction of this host/],
  },
  {
    is: 'provision: a user who may not use sudo',
    action: 'provision',
    inputs: {},
    user: 'nosudo',
    says: [/nosudo/, /sudo/, /next: .*NOPASSWD/],
  },
];

let machine: Machine;
let folder: string;
/** A key pair that nobody knows. */
let stranger: { readonly private: string; readonly public: string };
let untouched: Fingerprint;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'celeriac-bad-input-'));
  machine = await startMachine({ name: 'bad-input', state: 'healthy' });
  await machine.run(SET_UP);
  await watchLogins(machine);
  stranger = await makeKey(join(folder, 'stranger'));
  untouched = await look();
});

afterEach(async () => {
  expect(await look()).toEqual(untouched);
});

afterAll(async () => {
  await machine?.stop();
  await rm(folder, { recursive: true, force: true });
});

const SET_UP = `
set -eu
mkdir /srv/bad && cd /srv/bad
echo 'this is no database, but it is long enough to look like one at a glance' >text.db
sqlite3 ${DATABASE} '.backup damaged.db'
sqlite3 damaged.db "
  WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
  INSERT INTO jobs (id, status) SELECT printf('%08x-0000-4000-8000-%012x', i, i), 'completed' FROM n; VACUUM"
root=$(sqlite3 damaged.db "SELECT rootpage FROM sqlite_master WHERE name = 'jobs'")
page=$(sqlite3 damaged.db 'PRAGMA page_size')
head -c "$page" /dev/urandom | dd of=damaged.db bs="$page" seek=$((root - 1)) conv=notrunc status=none
cd /etc/systemd/system
ln -s /dev/null masked-worker.service
printf '[Service]\\nWorkingDirectory=${BACKEND}\\nExecStart=/bin/sh /srv/start-worker.sh\\n' >shell-worker.service
systemctl daemon-reload
`;

async function makeKey(path: string): Promise<typeof stranger> {
  await promisify(execFile)('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', path]);
  return {
    private: await readFile(path, 'utf8'),
    public: (await readFile(`${path}.pub`, 'utf8')).trim(),
  };
}

const look = (): Promise<Fingerprint> => takeFingerprint(machine, ['/srv/bad', '/no']);

/** One message, one annotation, exit 1, and nothing that only a programmer understands. */
function expectOneClearError(run: BundleRun, action: ActionName): void {
  expect(run.log).not.toMatch(/^\s+at .*:\d+:\d+\)?$/m);
  expect(run.log).not.toMatch(/unforeseen|TypeError|\[object |undefined/);
  expect(run.log.match(/^::error/gm) ?? [], run.log).toHaveLength(1);
  expect(run.code).toBe(1);
  expect(run.summary).toContain(`### ${action} failed`);
  expect(run.outputs.changed ?? 'false').toBe('false');
}

describe('errors that the host reports', () => {
  it.each(cases)('$is', async ({ action, inputs, user = 'root', says }) => {
    const run = await runBundle(action, inputsFor(machine, inputs, user));
    expectOneClearError(run, action);
    for (const pattern of says) expect(run.log).toMatch(pattern);
  });
});

describe('a login', () => {
  const provision = (inputs: Inputs): Promise<BundleRun> =>
    runBundle('provision', inputsFor(machine, { 'dry-run': 'true', ...inputs }));

  it('to a host with another key is not tried; both keys are shown', async () => {
    const pin = { 'known-hosts': `${machine.knownName} ${stranger.public}` };
    const { result, logins } = await countLogins(machine, 'root', () => provision(pin));
    expectOneClearError(result, 'provision');
    expect(result.log).toMatch(
      /expected SHA256:\S+ \(ssh-ed25519\), got SHA256:\S+ \(ssh-ed25519\)/,
    );
    expect(result.log).toContain('Nothing was sent to the server');
    expect(logins).toEqual({ accepted: 0, commands: 0, failed: 0 });
  });

  it('that the host refuses is tried once', async () => {
    const key = { 'ssh-key': stranger.private };
    const { result, logins } = await countLogins(machine, 'root', () => provision(key));
    expectOneClearError(result, 'provision');
    expect(result.log).toMatch(/refused the login of root with the key SHA256:/);
    expect(result.log).toContain('It was not retried');
    expect(logins).toEqual({ accepted: 0, commands: 0, failed: 1 });
  });

  it('works with one of several pinned keys: hashed, after comments, with Windows line ends', async () => {
    const key = machine.knownHosts.split('\n').find((line) => line.includes(' ssh-ed25519 '));
    const salt = randomBytes(20);
    const digest = createHmac('sha1', salt).update(machine.knownName).digest('base64');
    const lines = [
      '# of the old server',
      `@revoked * ${stranger.public}`,
      `|1|${salt.toString('base64')}|${digest} ${key?.slice(key.indexOf(' ') + 1)}`,
      '',
    ];
    const run = await provision({ 'known-hosts': lines.join('\r\n') });
    expect(run.code, run.log).toBe(0);
    expect(run.log).toContain('cost: 1 handshake');
  });
});

it('hostile text that an app may accept is passed to it as data', async () => {
  const planted = '/tmp/celeriac-planted';
  const hostile = `a'"$(touch ${planted})\`touch ${planted}\`; %n \u001b[31m::error::planted ##[error]x`;
  const run = await runBundle(
    'verify',
    inputsFor(machine, {
      gate: 'http',
      'gate-url': 'http://127.0.0.1/no-such-page',
      'gate-form': `links=${hostile}`,
      'gate-timeout': '20s',
      'http-probes': `http://127.0.0.1/$(touch$IFS${planted})`,
    }),
  );
  expect(run.code).toBe(1);
  expect(run.log).toContain('no-such-page: answered HTTP 404');
  expect(run.log).not.toMatch(/^\s+at .*:\d+:\d+\)?$/m);
  expect((await machine.run(`test -e ${planted}`, { allowFailure: true })).code).toBe(1);
});
