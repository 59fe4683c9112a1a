// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are systemd's variables
import { describe, expect, it } from 'vitest';
import type { CeleryCall } from '../../../src/celery/celery-call.ts';
import {
  addInclude,
  becomeWorker,
  setConcurrency,
  setQueues,
} from '../../../src/celery/edit-worker-line.ts';
import { readWorkerLine, type WorkerLine } from '../../../src/celery/worker-line.ts';
import { ConfigError } from '../../../src/model/errors.ts';
import type { Splice } from '../../../src/systemd/unit-entry.ts';
import { parseUnitFile } from '../../../src/systemd/unit-file.ts';

const read = (exec: string): CeleryCall =>
  readWorkerLine(parseUnitFile(`[Service]\nExecStart=${exec}\n`), 'x.service').call;

/** A unit that starts its worker by a shell. */
const sh = (script: string): string => `[Service]\nExecStart=/bin/sh -c '${script}'\n`;

const edit = (exec: string, change: (line: WorkerLine) => readonly Splice[]): string => {
  const file = parseUnitFile(`[Service]\nExecStart=${exec}\n`);
  const line = readWorkerLine(file, 'x.service');
  const edited = file.splice(line.entry, change(line));
  const again = readWorkerLine(edited, 'x.service');
  expect(change(again), 'a second edit has nothing to do').toEqual([]);
  return edited.print().slice('[Service]\nExecStart='.length, -1);
};

describe('a worker', () => {
  it('is read from the reference unit', () => {
    expect(
      read(
        '/usr/bin/celery -A celery_app worker --loglevel=info --concurrency=5 -Q celery,batch,links,variations',
      ),
    ).toMatchObject({
      program: ['/usr/bin/celery'],
      wrapper: [],
      app: 'celery_app',
      concurrency: '5',
      queues: ['celery', 'batch', 'links', 'variations'],
      pool: 'prefork',
      beat: false,
      include: [],
      autoscale: null,
    });
  });

  it.each<[string, Partial<CeleryCall>]>([
    ['celery -A x worker', { program: ['celery'], app: 'x', concurrency: null, queues: null }],
    ['/srv/v/bin/celery --app=x worker', { program: ['/srv/v/bin/celery'], app: 'x' }],
    ['/usr/bin/celery worker -A x', { app: 'x' }],
    ['/usr/bin/celery worker --app x.y:z', { app: 'x.y:z' }],
    ['/usr/bin/celery -Ax worker', { app: 'x' }],
    ['/usr/bin/celery worker', { app: null }],
    ['/usr/bin/python3 -m celery -A x worker', { program: ['/usr/bin/python3', '-m', 'celery'] }],
    ['/v/bin/python3.11 -u -m celery -A x worker', { app: 'x' }],
    ['/v/bin/python -um celery -A x worker', { program: ['/v/bin/python', '-um', 'celery'] }],
    ['/v/bin/python -mcelery -A x worker', { app: 'x' }],
    ['/v/bin/python -W error -X dev /v/bin/celery -A x worker', { app: 'x' }],
    ['/usr/bin/env X=1 Y="a b" celery -A x worker', { environment: ['X=1', 'Y=a b'], app: 'x' }],
    ['/usr/bin/nice -n 5 celery -A x worker', { wrapper: ['/usr/bin/nice', '-n', '5'] }],
    ['/usr/bin/nice -n5 /usr/bin/ionice -c 2 -n 7 celery -A x worker', { app: 'x' }],
    ['/usr/bin/taskset -c 0 celery -A x worker', { app: 'x' }],
    ['@/usr/bin/celery worker1 -A x worker', { app: 'x' }],
    ['-/usr/bin/celery -A x worker', { app: 'x' }],
    ['celery -A x worker -c5', { concurrency: '5' }],
    ['celery -A x worker -c 5', { concurrency: '5' }],
    ['celery -A x worker --concurrency 5', { concurrency: '5' }],
    ['celery -A x worker -Ec5', { concurrency: '5' }],
    ['celery -A x worker -c 5 -c 7', { concurrency: '7' }],
    ['celery -A x worker --autoscale=10,3', { autoscale: '10,3', concurrency: null }],
    ['celery -A x worker -P gevent', { pool: 'gevent' }],
    ['celery -A x worker --pool=solo', { pool: 'solo' }],
    ['celery -A x worker --queues=a,b', { queues: ['a', 'b'] }],
    ['celery -A x worker --queues "a, b"', { queues: ['a', 'b'] }],
    ['celery -A x worker -Qa,b', { queues: ['a', 'b'] }],
    ['celery -A x worker -I m1,m2', { include: ['m1', 'm2'] }],
    ['celery -A x worker --include=m1', { include: ['m1'] }],
    ['celery -A x worker -B -E', { beat: true }],
    ['celery -A x worker -EB', { beat: true }],
    ['celery -A x worker -n worker1@%%h -l info', { app: 'x' }],
    ['celery -A x --workdir /srv/x worker', { workingDirectory: '/srv/x' }],
    ['celery -A x worker -n worker -- -c 9', { concurrency: null }],
    ['celery -b redis://h/0 -A x worker -l beat', { app: 'x' }],
    ['celery -A x worker -Ofair -c3', { concurrency: '3' }],
  ])('%s', (exec, expected) => {
    expect(read(exec)).toMatchObject(expected);
  });

  it.each<[string, Partial<CeleryCall>, 'becomes' | 'waits']>([
    ["/bin/sh -c 'exec celery -A x worker -c 5'", { app: 'x', concurrency: '5' }, 'becomes'],
    ['/bin/bash -lc "celery -A x worker -Q a,b"', { app: 'x', queues: ['a', 'b'] }, 'waits'],
    ['env A=1 sh -ec "celery -A x worker"', { environment: ['A=1'] }, 'waits'],
    [
      "sh -c 'cd /srv/x && export B=2; A=1 exec celery -A x worker'",
      { environment: ['B=2', 'A=1'], workingDirectory: '/srv/x' },
      'becomes',
    ],
    ["sh -c 'python manage.py check && exec celery -A x worker'", { app: 'x' }, 'becomes'],
    ["sh -c 'exec nice -n 5 celery -A x worker'", { wrapper: ['nice', '-n', '5'] }, 'becomes'],
    ["sh -c 'exec celery -A x worker -c 2 >>/var/log/x 2>&1'", { concurrency: '2' }, 'becomes'],
    ['sh -c \'exec celery -A x worker -n "a b" -c $$N\'', { concurrency: '$N' }, 'becomes'],
    ["sh -c 'exec python -m celery -A x worker'", { app: 'x' }, 'becomes'],
  ])('is read from a shell: %s', (exec, expected, shell) => {
    const file = parseUnitFile(`[Service]\nExecStart=${exec}\n`);
    const line = readWorkerLine(file, 'x.service');
    expect(line.call).toMatchObject(expected);
    expect(line.shell).toBe(shell);
    for (const { text, start, end } of line.words) {
      const written = line.entry.value.slice(start, end);
      expect(written.replace(/["']/g, '').replaceAll('$$', '$')).toBe(text);
    }
  });

  it.each([
    ['. /srv/v/bin/activate && celery -A x worker', 'celery', '/srv/v/bin'],
    ['cd /srv && source v/bin/activate && exec celery -A x worker', 'celery', '/srv/v/bin'],
    ['. /srv/v/bin/activate; exec python -m celery -A x worker', 'python', '/srv/v/bin'],
    ['. /srv/v/bin/activate; exec /usr/bin/celery -A x worker', '/usr/bin/celery', '/srv/v/bin'],
    ['PATH=$HOME/v/bin:$PATH celery -A x worker', 'celery', '$HOME/v/bin'],
  ])('is looked up in the activated environment: %s', (script, program, folder) => {
    const { place } = readWorkerLine(parseUnitFile(sh(script)), 'x.service');
    expect(place.word).toBe(program);
    expect(place.scene.path).toEqual([folder, '$PATH']);
  });

  it('is read across continued lines', () => {
    expect(
      read('/usr/bin/celery \\\n  -A x worker \\\n# how many\n  --concurrency=5'),
    ).toMatchObject({
      app: 'x',
      concurrency: '5',
    });
  });

  it.each<[string, string, string]>([
    ['none', '[Service]\nType=simple\n', 'has no ExecStart='],
    ['reset', '[Service]\nExecStart=celery worker\nExecStart=\n', 'has no ExecStart='],
    [
      'several',
      '[Service]\nExecStart=celery worker\nExecStart=celery beat\n',
      'several ExecStart= lines (/etc/systemd/system/x.service:2, /etc/systemd/system/x.service:3)',
    ],
    ['commands', '[Service]\nExecStart=celery worker ; /bin/true\n', 'several commands'],
    ['quotes', '[Service]\nExecStart=celery "worker\n', 'unclosed quote'],
    ['shell script', '[Service]\nExecStart=/bin/sh /srv/start-worker.sh\n', 'starts /bin/sh'],
    ['shell alone', '[Service]\nExecStart=/bin/sh -c\n', 'starts /bin/sh'],
    ['or', sh('celery -A x worker || true'), 'uses `||`'],
    ['pipe', sh('celery -A x worker | tee /x'), 'uses a pipe'],
    ['background', sh('celery -A x worker &'), 'background'],
    ['more after it', sh('celery -A x worker; rm /x'), 'runs a command after the worker'],
    ['command in a word', sh('celery -A $$(cat /x) worker'), 'uses command substitution'],
    ['subshell', sh('(celery -A x worker)'), 'contains ('],
    ['escapes', '[Service]\nExecStart=sh -c "celery -A \\"x\\" worker"\n', 'without escapes'],
    ['no quotes', '[Service]\nExecStart=sh -c celery\n', 'one quoted word'],
    ['arguments', "[Service]\nExecStart=sh -c 'celery -A x worker' a b\n", 'starts sh'],
    ['another program', sh('exec /usr/sbin/nginx'), 'runs /usr/sbin/nginx, not celery'],
    [
      'unknown directory',
      sh('cd $WHERE/backend && celery -A x worker'),
      'changes to ${WHERE}/backend, which the unit does not show',
    ],
    ['home', '[Service]\nExecStart=~/v/bin/celery -A x worker\n', 'systemd does not expand ~'],
    ['multi', '[Service]\nExecStart=celery -A x multi start w1\n', 'celery multi'],
    [
      'shell multi',
      "[Service]\nExecStart=/bin/sh -c '${CELERY_BIN} -A $A multi start x'\nType=forking\n",
      'celery multi',
    ],
    [
      'shell celery multi',
      "[Service]\nExecStart=/bin/sh -c '/v/bin/celery -A a multi start x'\n",
      'celery multi',
    ],
    [
      'other program',
      '[Service]\nExecStart=/usr/sbin/nginx -g x\n',
      'runs /usr/sbin/nginx, not celery',
    ],
    [
      'unknown wrapper',
      '[Service]\nExecStart=/usr/bin/flock /x celery -A x worker\n',
      'through /usr/bin/flock',
    ],
    [
      'script',
      '[Service]\nExecStart=/usr/bin/python3 /srv/run.py\n',
      'runs /srv/run.py, not celery',
    ],
    [
      'python code',
      '[Service]\nExecStart=/usr/bin/python3 -c "import celery"\n',
      'inline Python code (-c)',
    ],
    ['module', '[Service]\nExecStart=/usr/bin/python3 -m flask run\n', 'module flask'],
    [
      'isolated',
      '[Service]\nExecStart=/usr/bin/python3 -I -m celery -A x worker\n',
      'ignores PYTHONPATH',
    ],
    ['beat', '[Service]\nExecStart=celery -A x beat\n', 'celery beat, not a worker'],
    ['nothing', '[Service]\nExecStart=celery -A x\n', 'but not its worker command'],
    ['detached', '[Service]\nExecStart=celery -A x worker -D\n', '--detach'],
    ['forking', '[Service]\nType=forking\nExecStart=celery -A x worker\n', 'Type=forking'],
    ['oneshot', '[Service]\nType=oneshot\nExecStart=celery -A x worker\n', 'Type=oneshot'],
  ])('is refused: %s', (_about, text, problem) => {
    let error: unknown;
    try {
      readWorkerLine(parseUnitFile(text), '/etc/systemd/system/x.service');
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(ConfigError);
    const refusal = error as ConfigError;
    expect(refusal.where).toBe('input unit');
    expect(refusal.message).toContain(problem);
    expect(refusal.message).toContain('/etc/systemd/system/x.service');
    expect(refusal.expected).not.toBe('');
  });
});

describe('edits', () => {
  it.each([
    ['celery -A x worker --concurrency=5 -l info', 'celery -A x worker --concurrency=1 -l info'],
    ['celery -A x worker --concurrency  5 -l info', 'celery -A x worker --concurrency  1 -l info'],
    ['celery -A x worker -c5', 'celery -A x worker -c1'],
    ['celery -A x worker -c 5', 'celery -A x worker -c 1'],
    ['celery -A x worker -Ec5', 'celery -A x worker -Ec1'],
    ['celery -A x worker "--concurrency=5"', 'celery -A x worker --concurrency=1'],
    ['celery -A x worker -c ${N} -l info', 'celery -A x worker -c 1 -l info'],
    ['celery -A x worker -c 5 -l info -c7', 'celery -A x worker -l info -c1'],
    ['celery -A x worker -Ec 5 -c7', 'celery -A x worker -E -c1'],
    ['celery -A x worker --autoscale=10,3 -l info', 'celery -A x worker --concurrency=1 -l info'],
    ['celery -A x worker --autoscale 10,3', 'celery -A x worker --concurrency=1'],
    ['celery -A x worker -c 5 --autoscale 10,3', 'celery -A x worker -c 1'],
    ['celery -A x worker', 'celery -A x worker --concurrency=1'],
    ['celery -A x worker -- a.b=1', 'celery -A x worker --concurrency=1 -- a.b=1'],
    ['celery -A x worker \\\n  -c 5 \\\n  -l info', 'celery -A x worker \\\n  -c 1 \\\n  -l info'],
  ])('concurrency: %s', (before, after) => {
    expect(edit(before, (line) => setConcurrency(line, 1))).toBe(after);
  });

  it('keeps values that are right', () => {
    const exec = '-/v/bin/celery   -A x  worker -c1 "-Q" a,b -I celeriac_support';
    expect(edit(exec, (line) => setConcurrency(line, 1))).toBe(exec);
    expect(edit(exec, (line) => setQueues(line, ['a', 'b']))).toBe(exec);
    expect(edit(exec, (line) => addInclude(line, 'celeriac_support'))).toBe(exec);
  });

  it.each([
    ['celery worker -Q a,b', 'celery worker -Q c,d'],
    ['celery worker --queues=a -l info', 'celery worker --queues=c,d -l info'],
    ['celery worker -Qa', 'celery worker -Qc,d'],
    ['celery worker -Q a -X b -Q e', 'celery worker -X b -Q c,d'],
    ['celery worker', 'celery worker -Q c,d'],
  ])('queues: %s', (before, after) => {
    expect(edit(before, (line) => setQueues(line, ['c', 'd']))).toBe(after);
  });

  it.each([
    ['celery worker -l info', 'celery worker -l info -I support'],
    ['celery worker -I a,b -l info', 'celery worker -I a,b,support -l info'],
    ['celery worker --include=a', 'celery worker --include=a,support'],
    ['celery worker -I ${MORE}', 'celery worker -I ${MORE},support'],
    ['celery worker -I "a, b"', 'celery worker -I "a, b,support"'],
    ['celery worker -I a -I b', 'celery worker -I b,support'],
    ['celery worker \\\n  -l info \\\n  -c 1', 'celery worker \\\n  -l info \\\n  -c 1 -I support'],
  ])('include: %s', (before, after) => {
    expect(edit(before, (line) => addInclude(line, 'support'))).toBe(after);
  });

  const edits = [
    (line: WorkerLine) => setConcurrency(line, 1),
    (line: WorkerLine) => setQueues(line, ['c', 'd']),
    (line: WorkerLine) => addInclude(line, 'support'),
    becomeWorker,
  ];

  it.each([
    [
      "sh -c 'exec celery -A x worker -c5 -Q a'",
      "sh -c 'exec celery -A x worker -c1 -Q c,d -I support'",
    ],
    [
      'bash -c "cd /x && celery -A x worker >>/var/log/x 2>&1"',
      'bash -c "cd /x && exec celery -A x worker --concurrency=1 -Q c,d -I support >>/var/log/x 2>&1"',
    ],
    [
      'sh -c \'A=1 celery -A x worker -c $$N -I "$$MORE" -Q "a"\'',
      'sh -c \'A=1 exec celery -A x worker -c 1 -I "$$MORE",support -Q c,d\'',
    ],
    [
      "sh -c 'cd /x && \\\ncelery -A x worker \\\n# how many\n  -c 5 -Qa'",
      "sh -c 'cd /x && \\\nexec celery -A x worker \\\n# how many\n  -c 1 -Qc,d -I support'",
    ],
  ])('in a shell: %s', (before, after) => {
    expect(edits.reduce(edit, before)).toBe(after);
  });

  it('refuse values in a shell that are more than one word', () => {
    const line = readWorkerLine(parseUnitFile(sh('exec celery -A x worker')), 'x');
    expect(() => setQueues(line, ['$(id)'])).toThrow(ConfigError);
    expect(() => setQueues(line, ["a'b"])).toThrow(/cannot write .* into the shell script/);
  });

  it('writes hostile names as one word', () => {
    const file = parseUnitFile('[Service]\nExecStart=celery worker\n');
    const line = readWorkerLine(file, 'x');
    const edited = file.splice(line.entry, setQueues(line, ['a b', '%n', '$(id)', '"']));
    const words = readWorkerLine(edited, 'x').argv;
    expect(words.at(-1)).toBe('a b,%%n,$$(id),"');
    expect(words).toHaveLength(4);
  });
});
