import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../../sandbox/machine.ts';
import { workerCommand } from '../../../src/celery/worker-process.ts';
import { takeFingerprint } from '../../lib/fingerprint.ts';
import { CHECKOUT, moveToShop } from '../lib/shop.ts';
import { isReady, SUPPORT, shell, UNIT, UNIT_PATH, waitUntil } from '../lib/worker.ts';
import { AGENT, hardenByHand, type Line, POLICY, speak } from './lib/hardened-client.ts';

/*
 * A stolen key: its owner speaks the protocol by hand. Each attempt is refused with the rule that
 * refuses it, or ends the session, and the host is as it was.
 */

const DATABASE = `${CHECKOUT}/backend/batch_processing.db`;
const OTHERS = '20260101T000000-0001';

let machine: Machine;
let unitText = '';

beforeAll(async () => {
  machine = await startMachine({ name: 'hardened-client', state: 'environment' });
  await moveToShop(machine);
  await shell(machine, `systemctl start ${UNIT}; ln -s /root /srv/linked`);
  // A worker that still starts makes processes and folders of its own.
  await waitUntil('the worker is ready', () => isReady(machine));
  unitText = await machine.readFile(UNIT_PATH);
  await hardenByHand(machine, {
    version: 1,
    access: 'change',
    readers: ['celeriac-plan'],
    units: [UNIT],
    appUser: 'shop',
    databases: [DATABASE, '/srv/linked/x.db'],
    checkout: CHECKOUT,
    swap: { path: '/swapfile', largestBytes: 2 ** 20 },
    sysctl: { 'vm.swappiness': [0, 100] },
    urls: ['http://127.0.0.1:8000/'],
  });
  // A transaction of another unit, which root has made.
  const meta = { action: 'x', holder: 'x', sha: '', lockTimeoutSeconds: 1, unit: 'other.service' };
  const plan = { id: OTHERS, number: 1, startedAt: 1, meta, operations: [] };
  const folder = `/var/lib/celeriac/transactions/${OTHERS}`;
  await shell(machine, `install -d -m 700 /var/lib/celeriac ${folder}`);
  await machine.writeFile(`${folder}/plan.json`, JSON.stringify(plan), '0600');
  const ended = { event: 'ended', at: 1, result: 'committed' };
  await machine.writeFile(`${folder}/journal.jsonl`, `${JSON.stringify(ended)}\n`, '0600');
});

afterAll(() => machine?.stop());

const ask = (kind: string, more: object = {}): string =>
  JSON.stringify({ id: 1, ask: kind, protocol: 1, ...more });
const META = { action: 'deploy-worker', holder: 'mallory', sha: '', lockTimeoutSeconds: 5 };
const apply = (...operations: readonly object[]): string =>
  ask('apply', {
    operations: operations.map((each) => ({ title: 'a', why: 'b', ...each })),
    meta: META,
  });
const look = (query: object): string => ask('look', { query });

const app = {
  unit: UNIT,
  interpreter: ['/usr/bin/python3'],
  app: 'celery_app',
  pythonPath: [],
};
const start = { op: 'start-unit', ...app, undoTimeoutSeconds: 60, timeoutSeconds: 60 };
const file = { op: 'write-file', text: '* * * * * root id\n', mode: '0644', expects: null };
const install = { op: 'install-unit', unit: UNIT, path: UNIT_PATH, expects: null };
const drop = `${UNIT_PATH}.d/celeriac.conf`;

/** What is tried, the rule that refuses it, and the line. `null`: the session ends. */
const attempts = (): readonly (readonly [what: string, rule: string | null, line: Line])[] => [
  ['another unit', 'units', apply({ op: 'enable-unit', unit: 'ssh.service' })],
  ['another unit, started', 'units', apply({ ...start, unit: 'ssh.service' })],
  ['a path outside', 'files', apply({ ...file, path: '/etc/cron.d/evil' })],
  ['a path with dots', 'files', apply({ ...file, path: '/etc/systemd/../cron.d/evil' })],
  ['sudoers', 'files', apply({ ...file, path: '/etc/sudoers.d/evil' })],
  ['the policy', 'files', apply({ ...file, path: POLICY })],
  ['the agent', 'files', apply({ ...file, path: AGENT })],
  ['another module', 'files', apply({ ...file, path: SUPPORT })],
  ['fstab', 'files', apply({ ...file, path: '/etc/fstab' })],
  ['a path over a link', 'databases', look({ resets: { database: '/srv/linked/x.db' } })],
  [
    'a shell',
    'commands',
    apply({
      op: 'run-command',
      unit: UNIT,
      interpreter: app.interpreter,
      argv: ['/bin/sh', '-c', 'id'],
      timeoutSeconds: 5,
    }),
  ],
  ['an old protocol', 'protocol', ask('look', { query: { host: {} }, protocol: 0 })],
  ['no protocol', 'protocol', JSON.stringify({ id: 1, ask: 'look', query: { host: {} } })],
  ['a shell as the interpreter', 'interpreter', apply({ ...start, interpreter: ['/bin/sh'] })],
  [
    'code as an option',
    'interpreter',
    apply({ ...start, interpreter: ['/usr/bin/python3', '-c', 'import os'] }),
  ],
  ['another app', 'app', apply({ ...start, app: 'os' })],
  ['a folder of modules', 'app', apply({ ...start, pythonPath: ['/tmp'] })],
  [
    'a command of root before the start',
    'unit text',
    apply({
      ...install,
      text: unitText.replace('[Service]', '[Service]\nExecStartPre=+/usr/bin/id'),
    }),
  ],
  [
    'root as the user',
    'unit text',
    apply({ ...install, text: unitText.replace('User=shop', 'User=root') }),
  ],
  [
    'root as the user, by a drop-in',
    'unit text',
    apply({ ...install, path: drop, text: '[Service]\nUser=root\n' }),
  ],
  [
    'a drop-in of another unit',
    'unit text',
    apply({ ...install, path: '/etc/systemd/system/ssh.service.d/celeriac.conf', text: '' }),
  ],
  [
    'a file beside the unit to verify',
    'unit text',
    apply({
      op: 'verify-unit',
      unit: UNIT,
      text: unitText,
      dropIns: [{ name: '../../../etc/cron.d/evil', text: 'x' }],
    }),
  ],
  [
    'a million operations',
    null,
    ['{"id":1,"ask":"apply","protocol":1,"operations":[{}', ',{}', 10 ** 6, ']}'],
  ],
  ['many operations', 'limits', apply(...Array(500).fill(start))],
  ['a line without end', null, ['{"id":1,"ask":"', 'x', 64 * 1024 * 1024, '"}']],
  ['many levels', 'shape', ['', '[', 200_000, '']],
  [
    'many levels, closed',
    'shape',
    ['{"id":1,"ask":"look","protocol":1,"query":', '[', 100_000, `${']'.repeat(100_000)}}`],
  ],
  ['a long number', 'shape', ['{"id":', '9', 900_000, '}']],
  ['a key twice', 'shape', '{"id":1,"ask":"look","ask":"apply","protocol":1}'],
  ['an unknown operation', 'operations', apply({ op: 'exec', argv: ['id'] })],
  ['an unknown request', 'requests', ask('exec', { argv: ['id'] })],
  ['an unknown fact', 'facts', look({ shadow: {} })],
  ['other code', 'facts', ask('look', { query: {}, SOURCES: { 'a.py': 'import os' } })],
  ['a fact of another file', 'files', look({ files: { paths: ['/etc/shadow'] } })],
  ['a script of root', 'files', look({ unit: { name: UNIT, programs: ['/root/backup.sh'] } })],
  ['a pattern that never ends', 'workers', look({ workers: { command: '(a*)*b' } })],
  [
    'another database',
    'databases',
    ask('snapshot', {
      database: '/root/slideshow/backend/batch_processing.db',
      limitBytes: 10 ** 8,
    }),
  ],
  [
    'a backup of anybody',
    'databases',
    apply({
      op: 'restore-database',
      database: DATABASE,
      unit: UNIT,
      backup: '/tmp/evil.db',
      keep: 1,
      busyTimeoutSeconds: 5,
    }),
  ],
  [
    "the undo of another unit's transaction",
    'transactions',
    ask('undo', { transactions: [OTHERS], meta: META }),
  ],
  [
    'an undo by a path',
    'transactions',
    ask('undo', { transactions: ['../../../../tmp'], meta: META }),
  ],
  [
    'the progress of another file',
    'transactions',
    ask('follow', { opened: { transactions: [], live: '../../etc/x' } }),
  ],
  [
    'a confirmation for another unit',
    'units',
    ask('confirm', { unit: 'other.service', transactions: [OTHERS], meta: META }),
  ],
  [
    'a unit that is a path',
    'units',
    ask('apply', { operations: [], meta: { ...META, unit: '../../etc/x' } }),
  ],
  [
    'a kernel setting',
    'sysctl',
    apply({ op: 'set-sysctl', name: 'kernel.core_pattern', value: '|/tmp/x' }),
  ],
  [
    'swap elsewhere',
    'swap',
    apply({
      op: 'make-swap',
      path: '/etc/passwd',
      sizeBytes: 4096,
      filesystem: 'ext4',
      fill: 'write',
      nocow: false,
    }),
  ],
  [
    'too much swap',
    'swap',
    apply({
      op: 'make-swap',
      path: '/swapfile',
      sizeBytes: 2 ** 30,
      filesystem: 'ext4',
      fill: 'write',
      nocow: false,
    }),
  ],
  [
    'the mode of another file',
    'swap',
    apply({ op: 'set-mode', path: '/etc/shadow', mode: '0644', owner: 'root' }),
  ],
  [
    'another address',
    'urls',
    look({ http: { probes: [{ url: 'http://169.254.169.254/latest/', timeoutSeconds: 5 }] } }),
  ],
  [
    'a task without leave',
    'tasks',
    ask('submit', {
      request: {
        kind: 'task',
        ...app,
        task: 'tasks.process_job',
        queue: null,
        calls: [{ args: [1] }],
        timeoutSeconds: 5,
      },
    }),
  ],
  [
    'another checkout',
    'checkout',
    apply({
      op: 'checkout-code',
      checkout: '/root/slideshow',
      commit: '1'.repeat(40),
      expects: '1'.repeat(40),
      stash: true,
    }),
  ],
  [
    'an upload as a path',
    'checkout',
    ask('receive', { sha256: '../../../etc/x', step: 'begin', sizeBytes: 1 }),
  ],
  [
    'an upload without end',
    'limits',
    ask('receive', { sha256: 'a'.repeat(64), step: 'begin', sizeBytes: 2 ** 39 }),
  ],
  ['a wait without end', 'limits', apply({ ...start, timeoutSeconds: 10 ** 9 })],
];

/** Without the files that SQLite makes beside a database that is looked at. */
async function capture() {
  const all = await takeFingerprint(machine, ['/srv', '/root', '/home', '/var/spool']);
  return Object.fromEntries(Object.entries(all).filter(([path]) => !/-(?:wal|shm)$/.test(path)));
}

test('a hostile client gets a refusal each time, and nothing changes', async () => {
  const mainPid = await shell(machine, `systemctl show ${UNIT} -p MainPID --value`);
  const ticks = await shell(machine, `cut -d' ' -f22 /proc/${mainPid}/stat`);
  const ending = (pid: string) =>
    apply({
      op: 'end-process',
      ...app,
      processes: [{ pid: Number(pid), startTicks: Number(ticks), cgroup: '/' }],
      graceSeconds: 0,
      user: 'shop',
    });
  const all = [
    ...attempts(),
    ['the process of the unit itself', 'processes', ending(mainPid)] as const,
    [
      'an option beside the rules',
      'units',
      apply({ op: 'enable-unit', unit: UNIT, now: true }),
    ] as const,
  ];
  const before = await capture();
  const since = await shell(machine, 'date +%s');
  const heard = await speak(
    machine,
    all.map(([, , line]) => [line]),
  );
  const refusals = heard.map(({ hello, answers: [answer] }, index) => {
    expect(hello).toMatchObject({ hello: 'celeriac', hardened: true, access: 'change' });
    const fault = answer?.fault as { message: string } | undefined;
    const said = answer === null ? null : (fault?.message ?? JSON.stringify(answer));
    const rule = /^refused by \/etc\/celeriac\/policy\.json: ([\w ]+):/.exec(said ?? '')?.[1];
    return [all[index]?.[0], said === null ? null : (rule ?? said)];
  });
  expect(refusals).toEqual(all.map(([what, rule]) => [what, rule]));
  expect(await capture()).toEqual(before);
  // Each that was a message is on record, with its refusal.
  const record = await shell(
    machine,
    `journalctl --sync; journalctl -q -t celeriac --since @${since} -o cat`,
  );
  const messages = all.filter(([, rule]) => rule !== null && rule !== 'shape').length;
  expect(record.match(/^celeriac, session \d+, asks: /gm)).toHaveLength(messages);
  expect(record.match(/^celeriac, session \d+, is refused: /gm)).toHaveLength(messages);
});

test('what the policy allows is done', async () => {
  const [session] = await speak(machine, [
    [
      look({
        host: {},
        unit: { name: UNIT },
        workers: { command: workerCommand },
        stores: { unit: UNIT, databases: [DATABASE], user: null },
        past: {},
      }),
      apply({ ...start, interpreter: ['/usr/bin/python3'] }),
    ],
  ]);
  const [facts, outcome] = session?.answers ?? [];
  expect(facts).toMatchObject({
    answer: {
      unit: { name: UNIT, activeState: 'active' },
      stores: [{ path: DATABASE }],
      past: { working: null },
    },
  });
  expect(outcome).toMatchObject({
    answer: { result: 'committed', steps: [{ status: 'already' }] },
  });
});

test('a reader looks and changes nothing, whatever it calls itself', async () => {
  const [session] = await speak(
    machine,
    [
      [
        look({ unit: { name: UNIT } }),
        apply({ ...start, interpreter: ['/usr/bin/python3'] }),
        ask('receive', { sha256: 'a'.repeat(64), step: 'begin', sizeBytes: 1 }),
        ask('recover', { meta: META }),
      ],
    ],
    'celeriac-plan',
  );
  const refusal = (request: string) => ({
    fault: {
      message: `refused by ${POLICY}: access: ${request} changes the host, and access is read`,
    },
  });
  expect(session?.hello).toMatchObject({ access: 'read' });
  expect(session?.answers).toMatchObject([
    { answer: { unit: { name: UNIT } } },
    refusal('apply'),
    refusal('receive'),
    refusal('recover'),
  ]);
  const asAnother = 'runuser -u celeriac-plan -- sudo -n SUDO_USER=celeriac';
  const { code } = await machine.run(`${asAnother} ${AGENT} </dev/null`, { allowFailure: true });
  expect(code).not.toBe(0);
});

test('neither arguments nor another user come through sudo', async () => {
  const asKey = (words: string) =>
    machine.run(`runuser -u celeriac -- ${words} </dev/null`, { allowFailure: true });
  for (const words of [
    `sudo -n ${AGENT} carry-out x 0`,
    `sudo -n -u shop ${AGENT}`,
    `sudo -n PYTHONPATH=/tmp ${AGENT}`,
    'sudo -n id',
    `sudo -n /usr/bin/python3 ${AGENT}`,
  ]) {
    const { code, stderr } = await asKey(words);
    expect([words, code], stderr).not.toEqual([words, 0]);
  }
});

test('a policy that others can write allows nothing', async () => {
  await shell(machine, `chmod g+w ${POLICY}`);
  const [session] = await speak(machine, [[look({ host: {} })]]);
  expect(session?.hello).toMatchObject({ access: 'none' });
  expect(session?.answers).toEqual([
    expect.objectContaining({
      fault: expect.objectContaining({
        message: `refused: users other than root may write to ${POLICY}; chmod go-w ${POLICY}`,
      }),
    }),
  ]);
  await shell(machine, `chmod g-w ${POLICY}`);
});
