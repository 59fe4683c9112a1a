import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Machine } from '../../sandbox/machine.ts';
import { workerCommand } from '../../src/celery/worker-process.ts';
import { HostError } from '../../src/model/errors.ts';
import type { UnitFact } from '../../src/model/facts/unit.ts';
import type { Agent } from '../../src/ports/agent.ts';
import { Hand } from './lib/hand.ts';
import { BACKEND, shell } from './lib/worker.ts';

let hand: Hand;
let machine: Machine;
let agent: Agent;

beforeAll(async () => {
  // Five children of the unit's worker, and three workers that somebody started by hand.
  hand = await Hand.start('facts-unit', { state: 'before' });
  ({ machine, agent } = hand);
});

afterAll(() => hand?.stop());

const output = (command: string) => shell(machine, command);
const look = async (name: string): Promise<UnitFact> => (await agent.look({ unit: { name } })).unit;

describe('unit', () => {
  test('a running worker: definition, processes, memory', async () => {
    const unit = await look('celery-worker');
    expect(unit).toMatchObject({
      name: 'celery-worker.service',
      loadState: 'loaded',
      activeState: 'active',
      subState: 'running',
      unitFileState: 'enabled',
      needDaemonReload: false,
      fragmentPath: '/etc/systemd/system/celery-worker.service',
      dropIns: [],
    });
    expect(unit.fragment).toMatchObject({ kind: 'file', owner: 'root' });
    expect(unit.properties).toMatchObject({ Restart: 'always', WatchdogUSec: '0', User: 'root' });
    // An empty property is one, too.
    expect(unit.properties).toHaveProperty('StatusText', '');
    const [shebang] = (await machine.readFile('/usr/bin/celery')).split('\n');
    expect(unit.programs).toEqual({
      '/usr/bin/celery': { exists: true, shebang, script: expect.stringContaining('python3') },
    });
    expect(unit.mainPid).toBe(
      Number(await output('systemctl show -p MainPID --value celery-worker')),
    );
    const children = unit.processes.filter((each) => each.parentPid === unit.mainPid);
    expect(children).toHaveLength(5);
    expect(unit.processes.find((each) => each.pid === unit.mainPid)).toMatchObject({
      user: 'root',
      argv: expect.arrayContaining(['/usr/bin/celery', 'worker', '--concurrency=5']),
    });
    const counters = `/sys/fs/cgroup${await output('systemctl show -P ControlGroup celery-worker')}`;
    const isCounted = (await output(`ls ${counters} 2>/dev/null || true`)).includes(
      'memory.events',
    );
    expect(unit.memory).toEqual(
      isCounted
        ? {
            currentBytes: expect.any(Number),
            peakBytes: expect.any(Number),
            events: expect.objectContaining({ oom_kill: 0, high: 0 }),
          }
        : null,
    );
  });

  test('drop-ins, a template instance, an alias, a masked unit, none at all', async () => {
    await machine.run(`
      printf '[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/true\\n' >/etc/systemd/system/edited.service
      mkdir /etc/systemd/system/edited.service.d
      printf '[Service]\\nMemoryMax=900M\\n' >/etc/systemd/system/edited.service.d/10-limit.conf
      printf '[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=-/bin/true "%%i" /srv/none\\n' >/etc/systemd/system/lot@.service
      ln -s /dev/null /etc/systemd/system/stray.service
      systemctl daemon-reload
      systemctl start lot@7 edited
      printf '\\n# changed behind its back\\n' >>/etc/systemd/system/edited.service
    `);
    const edited = await look('edited.service');
    expect(edited.dropIns).toEqual([
      {
        path: '/etc/systemd/system/edited.service.d/10-limit.conf',
        text: '[Service]\nMemoryMax=900M\n',
      },
    ]);
    expect(edited.properties.MemoryMax).toBe(String(900 * 1024 * 1024));
    expect(edited.needDaemonReload).toBe(true);

    const instance = await look('lot@7.service');
    expect(instance).toMatchObject({
      name: 'lot@7.service',
      fragmentPath: '/etc/systemd/system/lot@.service',
      activeState: 'active',
      mainPid: null,
      processes: [],
      memory: null,
    });
    const since = await output('date +%s -d "$(systemctl show -P ActiveEnterTimestamp lot@7)"');
    expect(Math.abs((instance.activeSince ?? 0) - Number(since))).toBeLessThan(3);
    expect(instance.programs['/srv/none']).toMatchObject({ exists: false, shebang: null });

    expect((await look('redis')).name).toBe('redis-server.service');

    const masked = await look('stray');
    expect(masked).toMatchObject({
      loadState: 'masked',
      fragmentPath: '/etc/systemd/system/stray.service',
      fragment: { kind: 'symlink', target: '/dev/null' },
    });

    const none = await look('no-such-thing');
    expect(none).toMatchObject({
      name: 'no-such-thing.service',
      loadState: 'not-found',
      activeState: 'inactive',
      fragment: { kind: 'absent' },
      mainPid: null,
      activeSince: null,
      programs: {},
    });
  });

  test.each(['*', 'celery worker', '', 'a\nb'])('%j is not a unit name', async (name) => {
    const error = await agent.look({ unit: { name } }).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(HostError);
    expect(String(error)).toContain('invalid unit name');
  });
});

test('workers: all of them with their cgroup, and no process that only mentions one', async () => {
  // Words alone do not make a worker: a shell, an interpreter's -c, a pager, a pattern.
  await machine.run(`
    for line in 'sh -c "sleep 100000; : celery -A celery_app worker"' \
                'python3 -c "import time; time.sleep(100000)" celery -A celery_app worker' \
                'tail -f /dev/null celery worker'; do
      systemd-run --quiet --service-type=exec sh -c "exec $line" 2>/dev/null
    done
  `);
  const { workers, unit } = await agent.look({
    workers: { command: workerCommand },
    unit: { name: 'celery-worker' },
  });
  const own = workers.filter((each) => each.cgroup.endsWith('/celery-worker.service'));
  expect(own.map((each) => each.pid).sort()).toEqual(unit.processes.map((each) => each.pid).sort());
  const strays = workers.filter((each) => !own.includes(each));
  const mains = strays.filter((each) => !strays.some((other) => other.pid === each.parentPid));
  expect(mains).toHaveLength(3);
  for (const stray of strays) {
    expect(stray.cgroup).toMatch(/session-.*\.scope$/);
    expect(stray.workingDirectory).toBe(BACKEND);
    expect(stray.argv).toContain('worker');
  }
  const started = await output(`date +%s -d "$(ps -o lstart= -p ${mains[0]?.pid})"`);
  expect(Math.abs((mains[0]?.startedAt ?? 0) - Number(started))).toBeLessThan(5);
});

test('code: the newest source of the app itself', async () => {
  await machine.run(`
    cd ${BACKEND}
    mkdir -p deep/er venv/lib .hidden node_modules
    touch venv/pyvenv.cfg
    touch -d '2030-01-01' venv/lib/x.py .hidden/x.py node_modules/x.py deep/er/x.txt
    touch -d '2029-05-05T00:00:00Z' deep/er/new.py
  `);
  const { code } = await agent.look({ code: { unit: 'celery-worker' } });
  expect(code).toEqual({
    newest: {
      path: `${BACKEND}/deep/er/new.py`,
      modified: Date.parse('2029-05-05T00:00:00Z') / 1000,
    },
    truncated: false,
    startedWithThese: null,
  });
  const none = await agent.look({ code: { unit: 'no-such-thing' } });
  expect(none.code).toEqual({ newest: null, truncated: false, startedWithThese: null });
});

test('journal: the lines of this start alone; suspects are found in any encoding', async () => {
  await machine.writeFile(
    '/srv/talk.py',
    `import os, sys, time
out = sys.stdout.buffer
if not os.path.exists('/srv/second'):
    out.write(b'HTTP 429 of an earlier life\\n')
else:
    for number in range(400): out.write(b'line %d is quite ordinary\\n' % number)
    out.write(b'HTTP 429 Too Many Requests\\n')
    out.write(b'bad bytes \\xff\\xfe and a ValueError: of theirs\\n')
    out.write(b'Traceback ' + b'x' * 9000 + b'\\n')
out.flush()
open('/srv/told', 'w').close()
time.sleep(100000)
`,
  );
  const unit = '[Service]\nExecStart=/usr/bin/python3 /srv/talk.py\n';
  await machine.writeFile('/etc/systemd/system/talk.service', unit);
  await machine.run(`
    systemctl daemon-reload
    systemctl start talk; timeout 60 sh -c 'until [ -e /srv/told ]; do sleep 0.1; done'; systemctl stop talk
    rm /srv/told; touch /srv/second
    systemctl start talk; timeout 60 sh -c 'until [ -e /srv/told ]; do sleep 0.1; done'; journalctl --sync
  `);
  const { journal } = await agent.look({ journal: { unit: 'talk' } });
  expect(journal.entries).toBe(403);
  const messages = journal.suspects.map((each) => each.message);
  expect(messages).toHaveLength(3);
  expect(messages[0]).toBe('HTTP 429 Too Many Requests');
  expect(messages[1]).toMatch(/^bad bytes .* and a ValueError: of theirs$/);
  expect(messages[2]).toMatch(/^Traceback x{490}$/);
  expect(journal.tail).toHaveLength(30);
  expect(journal.tail[0]).toBe('line 373 is quite ordinary');
  const since = await output('date +%s -d "$(systemctl show -P InactiveExitTimestamp talk)"');
  expect(Math.abs((journal.since ?? 0) - Number(since))).toBeLessThan(3);
  expect(journal.suspects[0]?.at).toBeGreaterThan(Number(since) - 3);
  const none = await agent.look({ journal: { unit: 'no-such-thing' } });
  expect(none.journal).toEqual({
    since: null,
    entries: 0,
    suspects: [],
    tail: [],
    ends: [],
    endedRuns: [],
  });
});
