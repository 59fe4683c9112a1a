import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { runsBeat } from '../../../src/celery/beat.ts';
import { findCeleryCall } from '../../../src/celery/celery-call.ts';
import {
  beatCommand,
  otherWorkersIn,
  workerCommand,
  workingDirectoryOf,
} from '../../../src/celery/worker-process.ts';
import { unitFact } from '../verify/facts.ts';

const workers: readonly (readonly string[])[] = [
  ['/usr/bin/celery', '-A', 'app', 'worker'],
  ['celery', 'worker'],
  ['celery', '--app=app', 'worker', '-c', '4'],
  ['celery', '-A', 'worker', 'worker'],
  ['celery', '-l', 'info', '-A', 'app', 'worker'],
  ['celery', '-q', '--workdir', '/srv/app', '--broker', 'redis://', 'worker', ''],
  ['/usr/bin/python3', '/usr/bin/celery', '-A', 'app', 'worker'],
  ['/srv/venv/bin/python3.11', '-B', '-W', 'ignore', '-X', 'dev', '/srv/venv/bin/celery', 'worker'],
  ['python3', '-m', 'celery', '-A', 'app', 'worker'],
  ['python3', '-Im', 'celery', 'worker'],
  ['python3', '-mcelery', 'worker'],
  ['python3', '-m', 'celery.__main__', 'worker'],
  ['python3', '-m', 'celery.bin.worker', 'worker'],
  ['pypy3', 'celery', 'worker'],
  ['python3d', '--check-hash-based-pycs', 'always', 'celery', 'worker'],
  ['/usr/bin/celeryd'],
  ['python3', '/usr/bin/celeryd', '-c', '1'],
  ['[celeryd: celery@host:MainProcess] -active- (worker -A app)'],
  ['[celeryd: celery@host:ForkPoolWorker-1]'],
];

const others: readonly (readonly string[])[] = [
  [],
  [''],
  ['celery'],
  ['celery', '-A', 'app', 'beat'],
  ['celery', '-A', 'worker'],
  ['celery', 'inspect', 'worker'],
  ['celery', '-A', 'app', 'beat', 'worker'],
  ['celeryx', 'worker'],
  ['xcelery', 'worker'],
  ['/usr/bin/celery/x', 'worker'],
  ['sh', '-c', 'celery -A app worker'],
  ['bash', 'celery', 'worker'],
  ['sudo', 'celery', '-A', 'app', 'worker'],
  ['ssh', 'host', 'celery', 'worker'],
  ['pkill', '-f', 'celery worker'],
  ['vim', 'celery', 'worker'],
  ['tail', '-f', '/dev/null', 'celery', 'worker'],
  ['python3', '-c', 'import time', 'celery', 'worker'],
  ['python3', '-Bc', 'celery', 'worker'],
  ['python3', '-', 'celery', 'worker'],
  ['python3', '-m', 'flower', 'celery', 'worker'],
  ['python3', '-m', 'celeryx', 'worker'],
  ['python3', 'manage.py', 'celery', 'worker'],
  ['python3', '/usr/bin/celery', 'flower'],
  ['gunicorn', 'worker'],
  ['[celeryd: '],
];

const text = (argv: readonly string[]): string => argv.map((word) => `${word}\0`).join('');

/** Whether Python finds the pattern in each of them. */
function inPython(pattern: string, texts: readonly string[]): readonly boolean[] {
  const program =
    'import json, re, sys\n' +
    'pattern, texts = json.load(sys.stdin)\n' +
    'print(json.dumps([bool(re.search(pattern, text)) for text in texts]))';
  const input = JSON.stringify([pattern, texts]);
  const ran = spawnSync('python3', ['-I', '-c', program], { input, encoding: 'utf8' });
  expect(ran.stderr).toBe('');
  return JSON.parse(ran.stdout) as readonly boolean[];
}

describe('the command line of a worker', () => {
  const pattern = new RegExp(workerCommand);

  it.each(workers)('is %j %j %j', (...argv) => {
    expect(pattern.test(text(argv))).toBe(true);
  });

  it.each(others.map((argv) => [argv]))('is not %j', (argv) => {
    expect(pattern.test(text(argv))).toBe(false);
  });

  it('has the same meaning in Python', () => {
    const all = [...workers, ...others].map(text);
    expect(inPython(workerCommand, all)).toEqual(all.map((one) => pattern.test(one)));
  });

  it('is sent to the host, with the directory', () => {
    expect(otherWorkersIn('/srv/app')).toEqual({ directory: '/srv/app', command: workerCommand });
  });
});

/** Each word is an option of Python, and could be taken for the beginning of Celery's line. */
const hostile = [
  text(['python', ...Array.from({ length: 7000 }, () => '-/celery')]),
  text(['python', ...Array.from({ length: 7000 }, () => '-/celery'), 'worker', 'x']),
  text(['python', ...Array.from({ length: 7000 }, () => '-mcelery')]),
  text(['celery', ...Array.from({ length: 7000 }, () => '-EB'), 'worker', 'x']),
];

describe('a line that somebody made to be slow', () => {
  it.each([workerCommand, beatCommand])('takes as many steps as it has words', (command) => {
    const pattern = new RegExp(command);
    for (const line of hostile.slice(0, 3)) expect(pattern.test(line)).toBe(false);
    // A quadratic one takes half a minute for each of them: longer than the test may.
    expect(inPython(command, hostile)).toEqual(hostile.map((line) => pattern.test(line)));
  });
});

const beats: readonly string[] = [
  'celery -A shop beat',
  'celery beat',
  '/usr/bin/python3 /usr/bin/celery -A shop beat -s /run/s',
  'python3 -m celery beat -A shop',
  'python3 -m celery.__main__ -A shop beat',
  'celery --config worker beat',
  'celery -l info -A worker beat',
  '/usr/bin/celery -A shop worker -B',
  'celery -A shop worker --beat',
  'celery -A shop worker -EB',
  'celery -A shop worker -EBc4',
  'celery -A shop worker -c 4 -B -Q a,b',
  'celery -B worker -A shop',
  'celery -A shop worker -Q celery --schedule /run/s -B',
];

const notBeats: readonly string[] = [
  'celery -A shop worker',
  'celery -A shop worker -E',
  'celery -A shop worker -Q beat',
  'celery -A shop worker -Q -B',
  'celery -A shop worker -QB',
  'celery -A shop worker -cB',
  'celery -A shop worker -lB',
  'celery -A shop worker --schedule=-B',
  'celery -A shop worker --without-Beat',
  'celery -A shop worker -- -B',
  'celery -l beat -A shop worker',
  'celery -A beat status',
  'celery -A shop inspect beat',
  'celery -A shop status -B',
  '/usr/bin/beat celery',
  'sudo -u app celery -A shop beat',
  'sh -c celery_beat',
  '',
];

describe('a beat', () => {
  const words = (line: string): readonly string[] => line.split(' ').filter((word) => word !== '');

  it.each(beats)('is %s', (line) => {
    expect(runsBeat(words(line))).toBe(true);
  });

  it.each(notBeats)('is not %s', (line) => {
    expect(runsBeat(words(line))).toBe(false);
  });

  it('is known by the title that setproctitle writes', () => {
    expect(runsBeat(['[celery beat] -A shop beat'])).toBe(true);
  });

  it('inside a worker is what the parser of its command line says', () => {
    for (const line of [...beats, ...notBeats]) {
      const search = findCeleryCall(words(line));
      if (search.kind === 'found')
        expect([line, runsBeat(words(line))]).toEqual([line, search.call.beat]);
    }
  });

  it('has the same meaning in Python', () => {
    const all = [...beats.map(() => true), ...notBeats.map(() => false)];
    const texts = [...beats, ...notBeats].map((line) => text(words(line)));
    expect(inPython(beatCommand, texts)).toEqual(all);
  });
});

describe('the directory of a worker', () => {
  const at = (real: string | null, spelled = '', workdir: string | null = null): string =>
    workingDirectoryOf(
      unitFact({ workingDirectory: real, properties: { WorkingDirectory: spelled } }),
      workdir,
    );

  it("is the unit's directory on the host", () => {
    expect(at('/srv/releases/1', '/srv/current')).toBe('/srv/releases/1');
  });

  it('is the one that systemctl prints if the host does not know it', () => {
    expect(at(null, '/srv/app')).toBe('/srv/app');
    expect(at(null, '!/srv/app')).toBe('/srv/app');
    expect(at(null)).toBe('/');
  });

  it('is --workdir, relative to that', () => {
    expect(at('/srv/app', '/srv/app', '/srv/other')).toBe('/srv/other');
    expect(at('/srv/app', '/srv/app', 'backend')).toBe('/srv/app/backend');
    expect(at('/srv/app', '/srv/app', '')).toBe('/srv/app');
  });
});
