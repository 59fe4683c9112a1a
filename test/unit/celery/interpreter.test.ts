import { describe, expect, test } from 'vitest';
import {
  interpreterOf,
  interpreterOfCommand,
  pythonOfShebang,
} from '../../../src/celery/interpreter.ts';

const programs = (shebang: string | null, path = '/usr/bin/celery') => ({
  [path]: { exists: true, shebang },
});

const shown = (path: string, argv: string): string =>
  `{ path=${path} ; argv[]=${argv} ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }`;

describe('a shebang', () => {
  test.each([
    ['#!/usr/bin/python3', ['/usr/bin/python3']],
    ['#! /usr/bin/python3 ', ['/usr/bin/python3']],
    ['/usr/bin/python3', ['/usr/bin/python3']],
    ['#!/usr/bin/python3 -sP', ['/usr/bin/python3', '-sP']],
    ['#!/opt/app/venv/bin/python', ['/opt/app/venv/bin/python']],
    ['#!/opt/app/venv/bin/python3.11', ['/opt/app/venv/bin/python3.11']],
    ['#!/usr/bin/pypy3', ['/usr/bin/pypy3']],
    ['#!/usr/bin/env python3', ['/usr/bin/env', 'python3']],
    ['#!/usr/bin/env -S python3 -E', ['/usr/bin/env', 'python3', '-E']],
    ['#!/usr/bin/env LANG=C python3', ['/usr/bin/env', 'LANG=C', 'python3']],
    ['#!/bin/sh', null],
    ['#!/usr/bin/env bash', null],
    ['#!/usr/bin/env', null],
    ['#!/usr/bin/python-evil', null],
    ['', null],
  ])('%s', (shebang, expected) => {
    expect(pythonOfShebang(shebang)).toEqual(expected);
  });
});

describe('a command line', () => {
  test.each([
    ['a script with a shebang', ['/usr/bin/celery', '-A', 'app', 'worker'], ['/usr/bin/python3']],
    ['with a prefix of systemd', ['-/usr/bin/celery', 'worker'], ['/usr/bin/python3']],
    ['python -m', ['/usr/bin/python3', '-m', 'celery', 'worker'], ['/usr/bin/python3']],
    [
      'flags before -m',
      ['/v/bin/python', '-u', '-X', 'utf8', '-W', 'error', '-m', 'celery'],
      ['/v/bin/python', '-u', '-X', 'utf8', '-W', 'error'],
    ],
    ['flags and -m in one word', ['/v/bin/python', '-um', 'celery'], ['/v/bin/python', '-u']],
    ['a script after python', ['/v/bin/python', '/v/bin/celery', '-A', 'app'], ['/v/bin/python']],
    ['env', ['/usr/bin/env', 'python3', '-m', 'celery'], ['/usr/bin/env', 'python3']],
    ['env and a script', ['/usr/bin/env', '/usr/bin/celery', 'worker'], ['/usr/bin/python3']],
    ['another program', ['/usr/bin/uwsgi', '--ini', 'x'], null],
    ['nothing', [], null],
  ])('%s', (_, argv, expected) => {
    expect(interpreterOfCommand(argv, programs('#!/usr/bin/python3'))).toEqual(expected);
  });

  test('a program that has no shebang or does not exist', () => {
    expect(interpreterOfCommand(['/usr/bin/celery'], programs(null))).toBeNull();
    expect(interpreterOfCommand(['/usr/bin/celery'], {})).toBeNull();
  });
});

describe('a unit', () => {
  test('the effective ExecStart and the shebang of its program', () => {
    const unit = {
      properties: { ExecStart: shown('/usr/bin/celery', '/usr/bin/celery -A app worker -Q a,b') },
      programs: programs('#!/usr/bin/env python3'),
    };
    expect(interpreterOf(unit)).toEqual(['/usr/bin/env', 'python3']);
  });

  test('the one of several commands that runs celery', () => {
    const property = [
      shown('/bin/true', '/bin/true'),
      shown('/opt/v/bin/python', '/opt/v/bin/python -m celery -A app worker'),
    ].join('\n');
    expect(interpreterOf({ properties: { ExecStart: property }, programs: {} })).toEqual([
      '/opt/v/bin/python',
    ]);
  });

  test('no ExecStart', () => {
    expect(interpreterOf({ properties: {}, programs: {} })).toBeNull();
  });
});

describe('a shell script that execs Python', () => {
  const run = (script: string) =>
    interpreterOfCommand(['/usr/bin/celery', '-A', 'app', 'worker'], {
      '/usr/bin/celery': { exists: true, shebang: script.split('\n')[0] ?? '', script },
    });

  test.each([
    [
      "Debian's /usr/bin/celery",
      `#!/bin/sh\nshell_code=''' '\nif command -v python3 > /dev/null\nthen\n    exec python3 "$0" "$@"\nelif true\nthen\n    exec python2.7 "$0" "$@"\nfi\n`,
      ['/usr/bin/env', 'python3'],
    ],
    [
      "pip's, where the shebang would be too long",
      `#!/bin/sh\n'''exec' "/srv/a long path/venv/bin/python3" "$0" "$@"\n' '''\nimport re\n`,
      ['/srv/a long path/venv/bin/python3'],
    ],
    ['a wrapper of the user', '#!/bin/bash\nexec /opt/venv/bin/celery "$@"\n', null],
    ['a hand-over to something else', '#!/bin/sh\nexec perl "$0" "$@"\n', null],
  ])('%s', (_name, script, expected) => {
    expect(run(script)).toEqual(expected);
  });
});
