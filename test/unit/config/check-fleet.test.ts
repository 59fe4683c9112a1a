import { describe, expect, it } from 'vitest';
import { checkFleet } from '../../../src/config/check-fleet.ts';
import { parseFleet } from '../../../src/config/fleet-file.ts';
import { ConfigError } from '../../../src/model/errors.ts';

function check(text: string, keysFrom: 'file' | 'workflow' | 'person' = 'workflow'): string {
  const fleet = parseFleet('fleet.yml', text);
  try {
    checkFleet(fleet, [...(fleet.hosts?.values() ?? [])], { keysFrom });
  } catch (error) {
    if (error instanceof ConfigError) return `${error.where} ${error.message}`;
    throw error;
  }
  return '';
}

describe('before the first host is deployed', () => {
  it.each([
    ['hosts: { a: , b: }'],
    ['hosts: { a: { host: vps.test }, b: { host: vps.test, unit: beat } }'],
    ['hosts: { a: { host: vps.test }, b: { host: vps.test, port: 2222 } }'],
  ])('%j is well', (text) => {
    expect(check(text)).toBe('');
  });

  it.each([
    [
      'hosts:\n  a:\n  b:\n    deploy-worker: { concurrency: many }',
      'fleet.yml:4:35 b: invalid `concurrency`: "many"',
    ],
    [
      'groups: { g: { port: ssh } }\nhosts: { a: { groups: g } }',
      'fleet.yml:1:22 a: invalid `port`',
    ],
    // `off` is a limit to deploy, but none that verify could require.
    ['defaults: { memory-max: off }\nhosts: { a: }', 'fleet.yml:1:25 a: invalid `memory-max`'],
    [
      'hosts:\n  a: { host: vps.test }\n  b: { host: VPS.test }',
      'fleet.yml:3:3 b and a are the same unit of the same host',
    ],
    [
      'hosts: { web1: , Web1: { host: b } }',
      'fleet.yml:1:18 `Web1` and `web1` differ only in case',
    ],
    ['hosts: { web1: , none: }', 'fleet.yml:1:18 a host cannot be called `none`'],
    ['defaults: { dry-run: true }\nhosts: { a: }', 'fleet.yml:1:22 a rollout takes no `dry-run`'],
    [
      'hosts: { a: { cleanup: { dry-run: false } } }',
      'fleet.yml:1:35 a rollout takes no `dry-run`',
    ],
    ['hosts: { a: { roll-back: previous } }', 'fleet.yml:1:26 a rollout takes no `roll-back`'],
    [
      'hosts:\n  a: { host: vps.test }\n  b: { host: vps.test, unit: celery-worker }',
      'fleet.yml:3:3 b and a are the same unit of the same host',
    ],
  ])('%j is refused', (text, problem) => {
    expect(check(text)).toContain(problem);
  });

  it.each([
    // Lists of YAML: what is in them, and their own rules.
    [
      'hosts:\n  a:\n    verify:\n      checks:\n        - name: board\n          comand: x',
      'fleet.yml:6:11 a: `checks`: unknown key `comand`; did you mean `command`?',
    ],
    [
      'hosts:\n  a:\n    verify:\n      checks: |\n        - name: board\n          comand: x',
      'fleet.yml:6:11 a: `checks`: unknown key `comand`',
    ],
    [
      'defaults:\n  stores:\n    - database: /srv/a.db\n      tabels: { jobs: }\nhosts: { a: }',
      'fleet.yml:4:7 a: `stores`: unknown key `tabels`; did you mean `tables`?',
    ],
    [
      'hosts: { a: { verify: { checks: [{ name: x }] } } }',
      'fleet.yml:1:34 a: one of the `checks` has neither',
    ],
    // Inputs that contradict each other, wherever they stand.
    [
      'defaults:\n  deploy-worker: { memory-high: 2G }\nhosts:\n  a:\n  b: { memory-max: 1G }',
      'fleet.yml:2:33 b: `memory-high` (2G) is not below `memory-max` (1G)',
    ],
    [
      'hosts: { a: { start-limit-interval: 10s } }',
      'fleet.yml:1:37 a: `start-limit-interval`: 10 s is not longer',
    ],
    [
      'hosts: { a: { max-memory-per-child: 1G, deploy-worker: { memory-max: 1G } } }',
      'fleet.yml:1:37 a: `max-memory-per-child` (1G) is not below',
    ],
    ['hosts: { a: { cleanup: { statuses: done } } }', 'fleet.yml:1:36 a: `statuses`: a job'],
    [
      'hosts: { a: { cleanup: { stores: [{ database: /srv/a.db }] }, database: /srv/b.db } }',
      'fleet.yml:1:34 a: `stores` and `database` cannot be combined',
    ],
    [
      'hosts: { a: { cleanup: { restore: latest, ids: ab12cd34 } } }',
      'fleet.yml:1:35 a: `restore` cannot be combined with `ids`',
    ],
    // What is missing stands nowhere: then what asks for it is named.
    ['hosts: { a: { source: upload } }', 'fleet.yml:1:23 a: `source: upload` needs `deploy-to`'],
    ['hosts: { a: { verify: { gate: task } } }', 'fleet.yml:1:31 a: `gate: task` needs'],
    ['hosts: { a: { restart-delay: 2m } }', 'fleet.yml:1:30 a: `start-limit-interval`: 300 s'],
  ])('%j is refused as its action would', (text, problem) => {
    expect(check(text)).toContain(problem);
    expect(check(text, 'person')).toContain(problem);
  });

  it('judges what a rollout sets itself together with the file', () => {
    const fleet = parseFleet('fleet.yml', 'hosts: { a: { source: upload, memory-max: 1G } }');
    const hosts = [...(fleet.hosts?.values() ?? [])];
    const judge = (flags: Readonly<Record<string, string>>) => () =>
      checkFleet(fleet, hosts, {
        keysFrom: 'person',
        given: (action) => (name) => (action === 'deploy-worker' ? (flags[name] ?? '') : ''),
      });
    expect(judge({})).toThrow('needs `deploy-to`');
    expect(judge({ 'deploy-to': '/srv/app' })).not.toThrow();
    expect(judge({ 'deploy-to': '/srv/app', 'memory-high': '2G' })).toThrow(
      'a: `memory-high` (2G) is not below `memory-max` (1G)',
    );
    expect(judge({ source: 'none' })).not.toThrow();
  });

  it('every host has keys to know it by', () => {
    const text = 'hosts: { a: { known-hosts: x }, b: }';
    expect(check(text)).toBe('');
    expect(check(text, 'file')).toContain('fleet.yml:1:33 b has no `known-hosts`');
  });

  it('keys of the workflow never stand beside a host’s own for other actions', () => {
    const some =
      'hosts: { b: { deploy-worker: { known-hosts: b x }, verify: { known-hosts: b x } } }';
    expect(check(some, 'workflow')).toBe(
      'fleet.yml:1:45 b has its own `known-hosts`, and none for provision, cleanup',
    );
    expect(check(some, 'file')).toContain('b has no `known-hosts` for provision');
    expect(check(some, 'person')).toBe('');
    const pins = ['provision', 'deploy-worker', 'cleanup', 'verify'].map(
      (action) => `${action}: { known-hosts: b x }`,
    );
    expect(check(`hosts: { b: { ${pins.join(', ')} } }`)).toBe('');
  });
});
