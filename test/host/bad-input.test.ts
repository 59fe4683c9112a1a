import { execFile } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Machine, startMachine, type User } from '../../sandbox/machine.ts';
import { type ActionName, actions } from '../../src/config/action-inputs.ts';
import { type BundleRun, runBundle } from '../lib/bundle.ts';
import { type Fingerprint, takeFingerprint } from '../lib/fingerprint.ts';

/** What a person could get wrong, on one host: each is told in words, and the host is left alone. */
interface BadInput {
  readonly is: string;
  readonly action: ActionName;
  readonly inputs: Readonly<Record<string, string>>;
  readonly user?: User;
  /** What the error says is wrong, where, and what would have been right. */
  readonly says: readonly RegExp[];
}

const backend = '/root/slideshow/backend';
const unitFolder = '/etc/systemd/system';

const wrongDatabases: readonly BadInput[] = [
  {
    is: 'cleanup: a folder as the database',
    action: 'cleanup',
    inputs: { database: '/srv/bad' },
    says: [/\/srv\/bad is not a regular file/, /expected: the path on the host of the SQLite file/],
  },
  {
    is: 'cleanup: an empty file as the database',
    action: 'cleanup',
    inputs: { database: '/srv/bad/empty.db' },
    says: [/empty\.db has no table .*none at all/, /expected: the database in which/],
  },
  {
    is: 'cleanup: a database of another program',
    action: 'cleanup',
    inputs: { database: '/srv/bad/foreign.db' },
    says: [
      /foreign\.db has no table .* status column; its tables: notes/,
      /expected: the database in which/,
    ],
  },
  {
    is: 'cleanup: a database that is cut off in the middle of a page',
    action: 'cleanup',
    inputs: { database: '/srv/bad/cut.db' },
    says: [/cut\.db is damaged/, /expected: .*restore it from a backup/],
  },
  ...(['cleanup', 'verify'] as const).flatMap((action) => [
    {
      is: `${action}: a database that is not there`,
      action,
      inputs: { database: '/srv/bad/missing.db' },
      says: [/missing\.db: there is no such file/, /expected: the path on the host/],
    },
    {
      is: `${action}: a text file as the database`,
      action,
      inputs: { database: '/srv/bad/text.db' },
      says: [/text\.db is not a SQLite database/, /expected: the path on the host/],
    },
    {
      is: `${action}: a database whose tables have no status`,
      action,
      inputs: { database: '/srv/bad/no-status.db' },
      says: [
        /no-status\.db has no table .* status column; its tables: jobs/,
        /expected: the database in which/,
      ],
    },
    {
      is: `${action}: a database with a page of nonsense`,
      action,
      inputs: { database: '/srv/bad/nonsense.db' },
      says: [/nonsense\.db is damaged/, /expected: .*restore it from a backup/],
    },
  ]),
];
const databases = wrongDatabases.map(
  (each): BadInput => ({ ...each, says: [...each.says, /where: input database/] }),
);

const units: readonly BadInput[] = [
  ...(['deploy-worker', 'verify'] as const).flatMap((action) => [
    {
      is: `${action}: a unit that is not there`,
      action,
      inputs: { unit: 'no-such-worker' },
      says: [/no-such-worker\.service/, /where: input unit/, /expected: the name of a/],
    },
    {
      is: `${action}: a unit that is masked`,
      action,
      inputs: { unit: 'masked-worker' },
      says: [/masked-worker\.service.* masked/, /where: input unit/, /expected: /],
    },
  ]),
  {
    is: 'deploy-worker: a unit whose file is a link to elsewhere',
    action: 'deploy-worker',
    inputs: { unit: 'linked-worker' },
    says: [/link to \/srv\/bad\/linked-worker\.service/, /where: input unit/, /a regular file/],
  },
  {
    is: 'deploy-worker: a unit without ExecStart=',
    action: 'deploy-worker',
    inputs: { unit: 'empty-worker' },
    says: [/empty-worker\.service has no ExecStart=/, /where: input unit/, /expected: .*celery/],
  },
  {
    is: 'deploy-worker: a unit that runs no Celery',
    action: 'deploy-worker',
    inputs: { unit: 'other' },
    says: [/runs \/usr\/bin\/sleep, and no celery/, /where: input unit/, /expected: .*celery/],
  },
  {
    is: 'deploy-worker: a unit that runs a shell',
    action: 'deploy-worker',
    inputs: { unit: 'shell-worker' },
    says: [
      /starts \/bin\/sh, and what that runs can't be told/,
      /where: input unit/,
      /expected: the celery call/,
    ],
  },
];

const values: readonly BadInput[] = [
  {
    is: 'cleanup: a threshold without a unit of time that there is',
    action: 'cleanup',
    inputs: { threshold: '30x' },
    says: [/`threshold` is not right: "30x"/, /where: input threshold/, /a duration such as/],
  },
  {
    is: 'deploy-worker: no process at all',
    action: 'deploy-worker',
    inputs: { concurrency: '0' },
    says: [/`concurrency` is not right: "0"/, /where: input concurrency/, /from 1 to 512/],
  },
  {
    is: 'provision: more swap than the disk holds',
    action: 'provision',
    inputs: { 'swap-size': '10T' },
    says: [/10 TiB of swap does not fit on/, /where: input swap-size/, /expected: at most \d+M/],
  },
  {
    is: 'provision: a folder in the place of the swap file',
    action: 'provision',
    inputs: { 'swap-path': '/srv/bad' },
    says: [/\/srv\/bad is a directory/, /where: input swap-path/, /no file there, or a swap file/],
  },
  {
    is: 'provision: a link in the place of the swap file',
    action: 'provision',
    inputs: { 'swap-path': '/srv/bad/link' },
    says: [/a link to \/srv\/bad\/data/, /where: input swap-path/, /no file there, or a swap file/],
  },
  {
    is: 'provision: a file with data in the place of the swap file',
    action: 'provision',
    inputs: { 'swap-path': '/srv/bad/data' },
    says: [/data that is not swap/, /where: input swap-path/, /choose another path/],
  },
  {
    is: 'provision: a folder that is not there',
    action: 'provision',
    inputs: { 'swap-path': '/no/such/folder/swap' },
    says: [
      /there is no folder \/no\/such\/folder/,
      /where: input swap-path/,
      /expected: a path in/,
    ],
  },
  {
    is: 'cleanup: an id that no row has',
    action: 'cleanup',
    inputs: { ids: 'deadbeef' },
    says: [/has the id 'deadbeef'/, /where: input ids/, /expected: a whole id/],
  },
  {
    is: 'deploy-worker: a transaction that the host does not know',
    action: 'deploy-worker',
    inputs: { 'roll-back': '20260101T000000-abcd' },
    says: [
      /knows no transaction/,
      /where: input roll-back/,
      /expected: a transaction of this host/,
    ],
  },
];

const login: readonly BadInput[] = (['provision', 'cleanup'] as const).map((action) => ({
  is: `${action}: a user who may not use sudo`,
  action,
  inputs: {},
  user: 'nosudo',
  says: [/nosudo/, /sudo/, /next: .*NOPASSWD/],
}));

const cases = [...values, ...units, ...databases, ...login];

let machine: Machine;
let folder: string;
let keys: { readonly other: string; readonly locked: string; readonly otherPublic: string };
let untouched: Fingerprint;
/** They begin together, a few at a time; each test waits for its own. */
const runs = new Map<string, Promise<BundleRun>>();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'celeriac-bad-input-'));
  machine = await startMachine({ name: 'bad-input', state: 'healthy' });
  await machine.run(SET_UP);
  keys = await makeKeys(folder);
  untouched = await look();
});
afterAll(async () => {
  await machine?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** The wrong things, side by side. */
const SET_UP = `
set -eu
mkdir /srv/bad && cd /srv/bad
echo 'this is no database, but it is long enough to look like one at a glance' >text.db
: >empty.db
sqlite3 foreign.db "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT); INSERT INTO notes VALUES (1, 'a')"
sqlite3 no-status.db "CREATE TABLE jobs (id TEXT PRIMARY KEY, started_at TIMESTAMP); INSERT INTO jobs VALUES ('a', '2026-01-16')"
sqlite3 ${backend}/batch_processing.db ".backup whole.db"
sqlite3 whole.db "
  WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
  INSERT INTO jobs (id, status) SELECT printf('%08x-0000-4000-8000-%012x', i, i), 'completed' FROM n; VACUUM"
size=$(stat -c %s whole.db)
head -c $((size - 4096 - 1500)) whole.db >cut.db
cp whole.db nonsense.db
root=$(sqlite3 whole.db "SELECT rootpage FROM sqlite_master WHERE name = 'jobs'")
page=$(sqlite3 whole.db 'PRAGMA page_size')
head -c "$page" /dev/urandom | dd of=nonsense.db bs="$page" seek=$((root - 1)) conv=notrunc status=none
rm whole.db
seq 100000 >data
ln -s /srv/bad/data link
cd ${unitFolder}
ln -s /dev/null masked-worker.service
printf '[Service]\\nExecStart=/usr/bin/celery -A celery_app worker\\n' >/srv/bad/linked-worker.service
ln -s /srv/bad/linked-worker.service linked-worker.service
printf '[Service]\\nWorkingDirectory=${backend}\\n' >empty-worker.service
printf '[Service]\\nExecStart=/usr/bin/sleep infinity\\n' >other.service
printf '[Service]\\nWorkingDirectory=${backend}\\nExecStart=/bin/sh /srv/start-worker.sh\\n' >shell-worker.service
systemctl daemon-reload
`;

/** A key that nobody knows, as login or as host; and one with a passphrase. */
async function makeKeys(place: string) {
  const run = promisify(execFile);
  const make = async (name: string, passphrase: string): Promise<string> => {
    const path = join(place, name);
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', passphrase, '-C', '', '-f', path]);
    return await readFile(path, 'utf8');
  };
  return {
    other: await make('other', ''),
    locked: await make('locked', 'right'),
    otherPublic: (await readFile(join(place, 'other.pub'), 'utf8')).trim(),
  };
}

const look = (): Promise<Fingerprint> => takeFingerprint(machine, ['/srv/bad', '/no']);

const reach = (user: User = 'root') => ({
  host: machine.host,
  port: String(machine.sshPort),
  user,
  'ssh-key': machine.key,
  'known-hosts': machine.knownHosts,
});

let last: readonly Promise<unknown>[] = [Promise.resolve(), Promise.resolve()];

/** The host has one processor: more at a time would only wait for each other. */
function atMostTwo<T>(start: () => Promise<T>): Promise<T> {
  const [first, ...rest] = last;
  const run = Promise.resolve(first).then(start, start);
  last = [...rest, run.catch(() => {})];
  return run;
}

/** One message, one annotation, exit 1, and nothing that only a programmer understands. */
function expectOneClearError(run: BundleRun, action: ActionName): void {
  expect(run.log).not.toMatch(/^\s+at .*:\d+:\d+\)?$/m);
  expect(run.log).not.toMatch(/unforeseen|TypeError|\[object |undefined/);
  expect(run.log.match(/^::error/gm) ?? [], run.log).toHaveLength(1);
  expect(run.code).toBe(1);
  expect(run.summary).toContain(`### ${action} failed`);
  expect(run.outputs.changed ?? 'false').toBe('false');
}

describe('what the host tells to be wrong', () => {
  beforeAll(() => {
    for (const { is, action, inputs, user = 'root' } of cases) {
      runs.set(
        is,
        atMostTwo(() => runBundle(action, { ...reach(user), ...inputs })),
      );
    }
  });

  it.each(cases)('$is', async ({ is, action, says }) => {
    const run = await runs.get(is);
    if (run === undefined) throw new Error('it was not run');
    expectOneClearError(run, action);
    for (const pattern of says) expect(run.log).toMatch(pattern);
  });

  it('leaves the host as it was', async () => {
    await Promise.all(runs.values());
    expect(await look()).toEqual(untouched);
  });
});

describe('who can not get in', () => {
  const provision = (more: Readonly<Record<string, string>>): Promise<BundleRun> =>
    runBundle('provision', { ...reach(), ...more });

  it('is told that nothing listens on the port', async () => {
    const port = String(await unusedPort());
    const known = machine.knownHosts.replaceAll(`:${machine.sshPort}`, `:${port}`);
    const run = await provision({ port, 'known-hosts': known });
    expectOneClearError(run, 'provision');
    expect(run.log).toMatch(/127\.0\.0\.1:\d+ cannot be reached: .*refused.* attempts/i);
    expect(run.log).toMatch(/next: Check the inputs `host` and `port`/);
  });

  it('is told that the host has no such name', async () => {
    const known = machine.knownHosts.replaceAll('127.0.0.1', 'no-such-host.invalid');
    const run = await provision({ host: 'no-such-host.invalid', 'known-hosts': known });
    expectOneClearError(run, 'provision');
    expect(run.log).toMatch(/no-such-host\.invalid.* cannot be reached/);
  });

  it('is told that the host does not answer', async () => {
    await machine.cutLink();
    try {
      const run = await provision({ 'connect-timeout': '2s' });
      expectOneClearError(run, 'provision');
      expect(run.log).toMatch(/cannot be reached: .*2 s/);
    } finally {
      await machine.restoreLink();
    }
  });

  it('is shown the key that was expected and the key that came', async () => {
    const run = await provision({
      'known-hosts': `${machine.knownName} ${keys.otherPublic}`,
    });
    expectOneClearError(run, 'provision');
    expect(run.log).toMatch(/expected SHA256:\S+ \(ssh-ed25519\), got SHA256:\S+ \(ssh-ed25519\)/);
    expect(run.log).toContain('Nothing was sent to it');
  });

  it('is told that the host refuses the key, after one attempt', async () => {
    const shown = await machine.run('journalctl -t sshd -n 1 --show-cursor -o cat');
    const cursor = /^-- cursor: (.+)$/m.exec(shown.stdout)?.[1] ?? '';
    const run = await provision({ 'ssh-key': keys.other });
    expectOneClearError(run, 'provision');
    expect(run.log).toMatch(/refused the login of root with the key SHA256:/);
    expect(run.log).toContain('is not tried again');
    await machine.run('journalctl --sync');
    const { stdout } = await machine.run(`journalctl -t sshd -o cat --after-cursor '${cursor}'`);
    expect(stdout.match(/ authenticating user root /g)).toHaveLength(1);
  });

  it('is told that the passphrase is wrong, or missing', async () => {
    const wrong = await provision({ 'ssh-key': keys.locked, 'ssh-key-passphrase': 'not-right' });
    expectOneClearError(wrong, 'provision');
    expect(wrong.log).toContain('where: input ssh-key-passphrase');
    expect(wrong.log.replaceAll(/^::add-mask::.*$/gm, '')).not.toContain('not-right');
    const missing = await provision({ 'ssh-key': keys.locked });
    expectOneClearError(missing, 'provision');
    expect(missing.log).toContain('`ssh-key-passphrase` is not given');
  });
});

describe('known-hosts', () => {
  const enter = (knownHosts: string): Promise<BundleRun> =>
    runBundle('provision', { ...reach(), 'known-hosts': knownHosts, 'dry-run': 'true' });
  const name = (): string => machine.knownName;
  const keyOf = (type: string): string => {
    const line = machine.knownHosts.split('\n').find((each) => each.includes(` ${type} `));
    if (line === undefined) throw new Error(`the machine has no ${type} key`);
    return line.slice(line.indexOf(' ') + 1);
  };
  /** As `ssh-keygen -H` writes a name. */
  const hash = (text: string): string => {
    const salt = randomBytes(20);
    const digest = createHmac('sha1', salt).update(text).digest('base64');
    return `|1|${salt.toString('base64')}|${digest}`;
  };

  it.each<[string, () => string]>([
    ['one line of one type', () => `${name()} ${keyOf('ssh-ed25519')}`],
    ['a hashed name', () => `${hash(name())} ${keyOf('ssh-ed25519')}`],
    [
      'several keys, the right one not the first, with comments and the line ends of Windows',
      () =>
        [
          `# of the old server`,
          `${name()} ${keys.otherPublic}`,
          `elsewhere.test,${name()} ${keyOf('ssh-ed25519')}`,
          '',
        ].join('\r\n'),
    ],
    [
      'a revoked key beside the right one',
      () => `@revoked * ${keys.otherPublic}\n${name()} ${keyOf('ssh-ed25519')}`,
    ],
  ])('lets in by %s', async (_, text) => {
    const run = await enter(text());
    expect(run.log).toContain('Dry run:');
    expect(run.code).toBe(0);
  });

  it.each<[string, () => string, RegExp]>([
    [
      'its only key revoked',
      () => `@revoked * ${keyOf('ssh-ed25519')}\n${name()} ${keyOf('ssh-ed25519')}`,
      /every key of `known-hosts` for \S+ is marked @revoked/,
    ],
    [
      'the host with another port',
      () => `127.0.0.1 ${keyOf('ssh-ed25519')}`,
      /no key for \[127\.0\.0\.1\]:\d+ \(line 1 names the host with another port\)/,
    ],
    [
      'another host, hashed',
      () => `${hash('elsewhere.test')} ${keyOf('ssh-ed25519')}`,
      /no key for \[127\.0\.0\.1\]/,
    ],
    [
      'a key that is cut off',
      () => `${name()} ${keyOf('ssh-ed25519').slice(0, -12)}`,
      /line 1 of `known-hosts`: the key is cut off/,
    ],
    ['no key at all', () => '# nothing yet\n', /holds no host key/],
  ])('keeps out by %s', async (_, text, says) => {
    const run = await enter(text());
    expectOneClearError(run, 'provision');
    expect(run.log).toMatch(says);
    expect(run.log).toMatch(/expected: .*/);
  });
});

describe('hostile text', () => {
  const planted = '/tmp/celeriac-planted';
  const hostile = `a'"$(touch ${planted})\`touch ${planted}\`;\n%n \u001b[31m::error::planted ##[error]x`;
  const everyInput = (Object.keys(actions) as ActionName[]).flatMap((action) =>
    Object.keys(actions[action]).map((input) => ({ action, input })),
  );
  it.each(everyInput)('in $input of $action', async ({ action, input }) => {
    // A passphrase may be any text; it opens the key or it does not.
    const key = input === 'ssh-key-passphrase' ? { 'ssh-key': keys.locked } : {};
    const run = await runBundle(action, { ...reach(), ...key, [input]: hostile });
    expectOneClearError(run, action);
    expect(run.log).toMatch(new RegExp(`where: (?:input )?${input}`));
    expect(run.log).toMatch(/^ {2}expected: ./m);
    // What is printed can't speak to the runner, colour the log or end a line.
    const printed = run.log.replaceAll(/^::(?:add-mask|error).*$/gm, '');
    expect(printed).not.toMatch(/^::|##\[/m);
    expect(printed).not.toContain('\u001b');
  });

  it('that an app may take goes to it as data', async () => {
    const run = await runBundle('verify', {
      ...reach(),
      gate: 'http',
      'gate-url': 'http://127.0.0.1/no-such-page',
      'gate-form': `links=${hostile.replace('\n', ' ')}`,
      'gate-timeout': '20s',
      'http-probes': `http://127.0.0.1/$(touch\${IFS}${planted})`.replace(/[{}]/g, ''),
    });
    expect(run.log).not.toMatch(/^\s+at .*:\d+:\d+\)?$/m);
  });

  it('has run nowhere', async () => {
    const { code } = await machine.run(`test -e ${planted}`, { allowFailure: true });
    expect(code).toBe(1);
  });
});

it('leaves the host as it was, whatever was tried', async () => {
  expect(await look()).toEqual(untouched);
});

/** A port on loopback that refuses: it was free a moment ago. */
function unusedPort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}
