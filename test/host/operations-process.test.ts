import assert from 'node:assert';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { seconds } from '../../src/model/units.ts';
import { readProcesses } from '../lib/processes.ts';
import { Hand, messages, noApp, type PlainOperation, statuses } from './lib/hand.ts';
import { POOL } from './lib/units.ts';
import { waitUntil } from './lib/worker.ts';

let hand: Hand;

beforeAll(async () => {
  hand = await Hand.start('operations-process');
  await hand.machine.writeFile('/srv/pool', POOL, '0755');
});

afterAll(() => hand?.stop());

describe('try-app', () => {
  const tried = 'tried.service';
  const attempt = (app: string, more: Partial<PlainOperation> = {}): PlainOperation =>
    ({
      op: 'try-app',
      unit: tried,
      interpreter: ['/usr/bin/python3', '-B'],
      app,
      modules: [],
      directory: null,
      timeoutSeconds: seconds(60),
      ...more,
    }) as PlainOperation;

  beforeAll(() => hand.shell('mkdir /srv/app /srv/lib'));

  test('imports as user, in the directory and with the environment of the unit', async () => {
    await hand.machine.writeFile(
      '/etc/systemd/system/tried.service',
      `[Service]
User=deploy
WorkingDirectory=/srv/app
Environment="GREETING=it's \\"here\\"" EMPTY=
EnvironmentFile=-/srv/none
EnvironmentFile=/srv/app.env
Environment=PYTHONPATH=/srv/lib
ExecStart=/bin/true
`,
    );
    await hand.machine.writeFile('/srv/app.env', "# secrets\nTOKEN='a b'\nMORE=x\\\ny\n");
    await hand.machine.writeFile(
      '/srv/app/app.py',
      `import getpass, os, sys
import helper
seen = (getpass.getuser(), os.getcwd(), os.environ['GREETING'], os.environ['TOKEN'], os.environ['MORE'], os.environ['HOME'])
assert seen == ('deploy', '/srv/app', 'it\\'s "here"', 'a b', 'xy', '/home/deploy'), seen
from celery import Celery
app = Celery('app', include=os.environ.get('EMPTY') or ['helper'])
`,
    );
    await hand.machine.writeFile('/srv/lib/helper.py', '');
    await hand.shell('systemctl daemon-reload');
    const outcome = await hand.commit([attempt('app')]);
    expect(messages(outcome)).toEqual(['the app app imports as user deploy in /srv/app']);
  });

  test('fails with the exception, or when the time is up', async () => {
    const text =
      '[Service]\nUser=deploy\nWorkingDirectory=/srv/app\nEnvironment=PYTHONPATH=/srv/lib\nExecStart=/bin/true\n';
    await hand.machine.writeFile('/etc/systemd/system/tried.service', text);
    await hand.machine.writeFile('/srv/app/app.py', 'import helper\n');
    await hand.machine.writeFile('/srv/lib/helper.py', 'import tasks\n');
    await hand.shell('systemctl daemon-reload');
    const failure = await hand.refuse([attempt('app')]);
    expect(failure.message).toBe(
      "the app app does not import as user deploy in /srv/app: ModuleNotFoundError: No module named 'tasks'",
    );
    expect(failure.exitCode).toBe(1);
    expect(failure.evidence?.at(-1)).toBe("ModuleNotFoundError: No module named 'tasks'");
    await hand.machine.writeFile('/srv/lib/helper.py', 'import time; time.sleep(100000)\n');
    const late = await hand.refuse([
      attempt('app', { timeoutSeconds: seconds(2) } as Partial<PlainOperation>),
    ]);
    expect(late.message).toContain('did not finish within 2 s');
    expect(await hand.shell('pgrep -u deploy -fc find_app || true')).toBe('0');
    const gone = await hand.refuse([
      attempt('app', { unit: 'gone.service' } as Partial<PlainOperation>),
    ]);
    expect(gone.message).toContain('unit gone.service is not loaded');
  });
});

describe('end-process', () => {
  type EndProcess = Extract<PlainOperation, { readonly op: 'end-process' }>;

  /** Starts it as a person does, in a login session; returns its pid and start. */
  async function stray(words: string): Promise<EndProcess> {
    const pid = Number(
      await hand.shell(`setsid nohup /srv/pool ${words} >/dev/null 2>&1 </dev/null & echo $!`),
    );
    const children = async () => {
      const all = await readProcesses(hand.machine);
      return [...all.values()].filter(({ parent }) => parent === pid).length;
    };
    await waitUntil('it has its two children', async () => (await children()) === 2);
    return endOf(pid);
  }

  /** As the workers fact tells it. */
  const cgroupOf = async (pid: number): Promise<string> =>
    (
      await hand.shell(
        `sed -En 's/^[0-9]+:(name=systemd)?://p' /proc/${pid}/cgroup | sort -r | head -1`,
      )
    ).trim();

  async function endOf(pid: number): Promise<EndProcess> {
    const process = (await readProcesses(hand.machine)).get(pid);
    return {
      op: 'end-process',
      unit: 'pool.service',
      ...noApp,
      app: '',
      user: 'root',
      processes: [{ pid, startTicks: Number(process?.started), cgroup: await cgroupOf(pid) }],
      graceSeconds: seconds(2),
    };
  }
  const left = () => hand.shell('pgrep -fc "^/usr/bin/python3 -IS /srv/pool 2" || true');

  test('with TERM, including its children; again', async () => {
    const end = await stray('2');
    const outcome = await hand.commit([end]);
    expect(messages(outcome)[0]).toMatch(
      /ended by TERM, 2 of its children by KILL: .*\/srv\/pool 2/,
    );
    expect(await left()).toBe('0');
    expect(statuses(await hand.commit([end]))).toEqual(['already']);
    const undone = await hand.undo(outcome.transaction);
    expect(messages(undone)[0]).toMatch(/^process \d+ was not started again: /);
  });

  test('with KILL after the grace period if it ignores TERM, or is stopped', async () => {
    const deaf = await stray('2 stubborn');
    expect(messages(await hand.commit([deaf]))[0]).toContain('ended by KILL, 2 s after TERM');
    const stopped = await stray('2');
    await hand.shell(`kill -STOP ${stopped.processes[0]?.pid}`);
    expect(messages(await hand.commit([stopped]))[0]).toContain('ended by TERM');
    expect(await left()).toBe('0');
  });

  test('never another process with that pid, or one in another cgroup, or of the system', async () => {
    const end = await stray('2');
    const [process] = end.processes;
    assert(process);
    const other = { ...end, processes: [{ ...process, startTicks: process.startTicks + 1 }] };
    expect(statuses(await hand.commit([other]))).toEqual(['already']);
    expect(await left()).toBe('3');
    for (const [pid, reason] of [
      [1, 'the init process'],
      [hand.agent.hello.pid, 'an ancestor of this program'],
    ] as const) {
      expect((await hand.refuse([await endOf(pid)])).message).toContain(reason);
    }
    const cgroup = '/system.slice/redis-server.service';
    const elsewhere = { ...end, processes: [{ ...process, cgroup }] };
    expect((await hand.refuse([elsewhere])).message).toContain(
      `it was ${cgroup} when the plan was made`,
    );
    expect((await hand.refuse([{ ...end, user: 'nobody' }])).message).toContain(
      'it runs as root, and the unit runs as nobody',
    );
    await hand.commit([end]);
  });
});
