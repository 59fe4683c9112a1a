import { describe, expect, test } from 'vitest';
import { parseFleetFile } from '../../../src/config/fleet-file.ts';
import { parseOwnChecks } from '../../../src/config/own-checks-input.ts';
import { readInputs } from '../../../src/config/read-inputs.ts';
import { verifyInputs } from '../../../src/config/verify-inputs.ts';
import { ConfigError } from '../../../src/model/errors.ts';

function errorOf(text: string): ConfigError {
  try {
    parseOwnChecks(text);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('no error came');
}

describe('checks of the user', () => {
  test('none', () => {
    expect(parseOwnChecks('')).toEqual([]);
    expect(parseOwnChecks(' \n')).toEqual([]);
  });

  test('commands and URLs, with the answers that they must give', () => {
    const text = `
- name: migrations are applied
  command: python manage.py migrate --check "shop app"
- name: no orders wait
  command: [sh, -c, 'exit $CODE']
  exit-code: 3
  contains: "0 orders"
  timeout: 2m
- name: queue board
  url: http://127.0.0.1:5555/healthcheck
- name: closed
  url: https://shop.example/admin
  status: 403
  contains: no
`;
    const usual = { contains: null, timeoutSeconds: 30 };
    expect(parseOwnChecks(text)).toEqual([
      {
        ...usual,
        name: 'migrations are applied',
        kind: 'command',
        argv: ['python', 'manage.py', 'migrate', '--check', 'shop app'],
        exitCode: 0,
      },
      {
        name: 'no orders wait',
        kind: 'command',
        argv: ['sh', '-c', 'exit $CODE'],
        exitCode: 3,
        contains: '0 orders',
        timeoutSeconds: 120,
      },
      {
        ...usual,
        name: 'queue board',
        kind: 'url',
        url: 'http://127.0.0.1:5555/healthcheck',
        status: null,
      },
      {
        ...usual,
        name: 'closed',
        kind: 'url',
        url: 'https://shop.example/admin',
        status: 403,
        contains: 'no',
      },
    ]);
  });

  test.each([
    [
      '- name: a\n  command: a | b',
      'line 2, column 12',
      /invalid `0.command`: expected a command without/,
    ],
    ['- name: a\n  command: []', 'line 2, column 12', /invalid `0.command`/],
    [
      '- name: a\n  url: ftp://x/',
      'line 2, column 8',
      /invalid `0.url`: expected an http or https URL/,
    ],
    ['- name: a\n  url: http://me:hunter2@x/', 'line 2, column 8', /invalid `0.url`/],
    ['- name: a\n  url: http://x/\n  timeout: 11m', 'line 3, column 12', /at most 10 min/],
    ['- name: a\n  url: http://x/\n  status: 600', 'line 3, column 11', /invalid `0.status`/],
    ['- name: a', 'line 1, column 3', /neither `command` nor `url`/],
    ['- { name: a, url: "http://x/", command: b }', 'line 1, column 3', /mixes/],
    ['- { name: a, url: "http://x/", exit-code: 1 }', 'line 1, column 3', /mixes/],
    ['- { name: a, command: b, status: 200 }', 'line 1, column 3', /mixes/],
    ['- { command: b }', 'line 1, column 3', /invalid `0.name`/],
    ['- { name: "a\\nb", command: b }', 'line 1, column 11', /invalid `0.name`/],
    ['- { name: a, command: b }\n- { name: a, command: c }', 'line 2, column 11', /same name/],
    ['- { name: a, comand: b }', 'line 1, column 14', /comand.*command/],
    ['- name: a\n  url: http://x/\n  contians: OK', 'line 3, column 3', /contians.*contains/],
    ['- { name: a, url: "http://x/" }\n---\n- x', 'line 2, column 1', /several documents/],
    ['name: a', 'line 1, column 1', /invalid `checks`/],
    ['[]', 'line 1, column 1', /`checks` is an empty list/],
    ['- [', 'line 1, column 4', /./],
  ])('%j is refused with its place', (text, line, problem) => {
    const error = errorOf(text);
    expect(error.where).toBe(`input checks, ${line}`);
    expect(error.message).toMatch(problem);
    expect(`${error.message} ${error.expected}`).not.toContain('hunter2');
  });

  test('more than 20 are refused', () => {
    const many = Array.from({ length: 21 }, (_, at) => `- { name: n${at}, command: a }`);
    expect(errorOf(many.join('\n')).message).toContain('at most 20');
    expect(parseOwnChecks(many.slice(1).join('\n'))).toHaveLength(20);
  });

  test('may stand in the fleet file as YAML', () => {
    const fleet = `
host: vps.example
verify:
  checks:
    - name: board
      url: http://127.0.0.1:5555/
    - name: migrations
      command: [python, manage.py, migrate, --check]
`;
    const values = parseFleetFile('.github/fleet.yml', fleet, 'verify');
    const given: Record<string, string> = { 'ssh-key': 'k', 'known-hosts': 'h k k' };
    const { checks } = readInputs(verifyInputs, (name) => given[name] ?? '', values);
    expect(parseOwnChecks(checks).map(({ name, kind }) => [name, kind])).toEqual([
      ['board', 'url'],
      ['migrations', 'command'],
    ]);
  });
});
