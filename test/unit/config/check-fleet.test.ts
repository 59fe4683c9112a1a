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
      'fleet.yml:4:35 invalid `concurrency`: "many"',
    ],
    ['groups: { g: { port: ssh } }\nhosts: { a: { groups: g } }', 'fleet.yml:1:22 invalid `port`'],
    // `off` is a limit to deploy, but none that verify could require.
    ['defaults: { memory-max: off }\nhosts: { a: }', 'fleet.yml:1:25 invalid `memory-max`'],
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
