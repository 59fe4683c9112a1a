import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import packageJson from '../../../package.json' with { type: 'json' };
import type { ActionName } from '../../../src/config/action-inputs.ts';
import { deployWorkerInputs } from '../../../src/config/deploy-worker-inputs.ts';
import { parseFleet, parseFleetFile } from '../../../src/config/fleet-file.ts';
import { fleetSchema } from '../../../src/config/fleet-schema.ts';
import { parseOwnChecks } from '../../../src/config/own-checks-input.ts';
import { readInputs } from '../../../src/config/read-inputs.ts';
import { parseStores } from '../../../src/config/stores-input.ts';
import { ConfigError } from '../../../src/model/errors.ts';

const root = join(import.meta.dirname, '../../..');
const path = '.github/fleet.yml';

const fleet = `
defaults:
  unit: shared.service
  user: deploy
  port: 22
  deploy-worker: { concurrency: 1, queues: [a, b], memory-max: 1G }
groups:
  large:
    user: large
    deploy-worker: { concurrency: 4, queues: [c] }
  eu:
    user: eu
    port: 2222
hosts:
  plain:
  one:
    host: 203.0.113.1
    groups: [large, eu]
  other:
    groups: [eu, large]
    unit: own.service
    deploy-worker: { concurrency: 2 }
rollout:
  canary: [one, other]
  max-parallel: 3
`;

const read = (host: string, action: ActionName = 'deploy-worker') => {
  const values = parseFleetFile(path, fleet, action, host);
  return Object.fromEntries([...values].map(([name, { text }]) => [name, text]));
};

function errorOf(work: () => unknown): ConfigError {
  try {
    work();
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('a host of a fleet file', () => {
  it('has the defaults, and its name for an address', () => {
    expect(read('plain')).toEqual({
      host: 'plain',
      unit: 'shared.service',
      user: 'deploy',
      port: '22',
      concurrency: '1',
      queues: 'a\nb',
      'memory-max': '1G',
    });
  });

  it('has what its groups say, the later one above the earlier one, whole lists', () => {
    expect(read('one')).toMatchObject({
      host: '203.0.113.1',
      user: 'eu',
      port: '2222',
      concurrency: '4',
      queues: 'c',
      'memory-max': '1G',
    });
    expect(read('other').user).toBe('large');
  });

  it('has its own values above its groups, and inputs of other actions not at all', () => {
    expect(read('other')).toMatchObject({ unit: 'own.service', concurrency: '2' });
    expect(read('other', 'provision')).toEqual({ host: 'other', user: 'large', port: '2222' });
  });

  it('is stronger as a level than a section of a weaker level', () => {
    const text = 'defaults: { verify: { unit: a } }\nhosts: { one: { unit: b } }\n';
    expect(parseFleetFile(path, text, 'verify', 'one').get('unit')?.text).toBe('b');
  });

  it('is what the input `host` names; other inputs of the workflow win', () => {
    const given: Readonly<Record<string, string>> = {
      host: 'one',
      user: 'root',
      'known-hosts': 'x',
    };
    const values = parseFleetFile(path, fleet, 'deploy-worker', 'one');
    const inputs = readInputs(deployWorkerInputs, (name) => given[name] ?? '', values);
    expect(inputs).toMatchObject({ host: '203.0.113.1', user: 'root', port: 2222 });
  });

  it('names the line of an address that is not valid', () => {
    const values = parseFleetFile(path, 'hosts:\n  one:\n    host: a b\n', 'provision', 'one');
    const error = errorOf(() =>
      readInputs(deployWorkerInputs, (name) => (name === 'host' ? 'one' : ''), values),
    );
    expect(error.where).toBe(`${path}:3:11`);
  });

  it('is the only one where none is named', () => {
    expect(parseFleetFile(path, 'hosts: { one: }', 'verify').get('host')?.text).toBe('one');
    expect(errorOf(() => read('')).expected).toContain('plain, one, other');
  });

  it('is never one that is not in the file', () => {
    const error = errorOf(() => read('oen'));
    expect([error.where, error.message]).toEqual(['input host', `${path} has no such host: "oen"`]);
    // Its address is not its name: two units may be on one machine.
    expect(errorOf(() => read('203.0.113.1')).expected).toContain('plain, one, other');
  });

  it('is any host in the flat form', () => {
    const values = parseFleetFile(path, 'unit: a', 'verify', 'vps.test');
    expect([...values.keys()]).toEqual(['unit']);
  });
});

describe('a fleet file', () => {
  it('keeps the order of its hosts, and how they are deployed', () => {
    const { hosts, rollout } = parseFleet(path, fleet);
    expect([...(hosts?.keys() ?? [])]).toEqual(['plain', 'one', 'other']);
    expect(rollout.get('canary')?.text).toBe('one\nother');
    expect(parseFleet(path, 'host: a').hosts).toBeNull();
  });

  it.each([
    ['hosts:', '1:1', '`hosts` is empty'],
    ['hosts: { -a: }', '1:10', 'not a name of a host'],
    ['hosts:\n  fe80::1:', '2:3', 'not a name of a host'],
    ['groups: { a b: }\nhosts: { a: }', '1:11', 'not a name of a group'],
    ['defaults: { unit: a }', '1:1', '`defaults` without `hosts`'],
    ['unit: a\nhosts: { a: }', '1:1', '`unit` beside `hosts`'],
    ['verify: { unit: a }\nhosts: { a: }', '1:1', '`verify` beside `hosts`'],
    ['hosts: { a: }\ngruops: { b: }', '2:1', 'unknown key `gruops`; did you mean `groups`?'],
    ['hots: { a: }', '1:1', 'unknown key `hots`; did you mean `hosts`?'],
    ['defaults: { unit: a }\nhots: { a: }', '2:1', 'unknown key `hots`; did you mean `hosts`?'],
    ['hots:\nhosts: { a: }', '1:1', 'unknown key `hots`; did you mean `hosts`?'],
    ['unti: a', '1:1', 'unknown key `unti`; did you mean `unit`?'],
    ['hunter2: a', '1:1', 'unknown key'],
    ['hosts: { a: }\n---\nhosts: { b: }', '2:1', 'there are several documents'],
    ['unit: a\n---\n', '2:1', 'there are several documents'],
    [
      'hosts:\n  a:\n    concurency: 2',
      '3:5',
      'unknown key `concurency`; did you mean `concurrency`?',
    ],
    [
      'hosts:\n  a:\n    deploy-wroker: { concurrency: 2 }',
      '3:5',
      'unknown key `deploy-wroker`; did you mean `deploy-worker`?',
    ],
    [
      'groups: { large: }\nhosts:\n  a:\n    groups: [lagre]',
      '4:14',
      'unknown group `lagre`; did you mean `large`?',
    ],
    ['hosts: { a: { groups: [x] } }', '1:24', 'unknown group'],
    ['hosts: { a: { groups: { x: } } }', '1:23', '`groups` is not a list of names'],
    ['defaults: { groups: [a] }\nhosts: { a: }', '1:13', '`groups` is in the wrong place'],
    ['hosts: { a: { hosts: { b: } } }', '1:15', '`hosts` is in the wrong place'],
    ['defaults: { ssh-key: x }\nhosts: { a: }', '1:13', '`ssh-key` is a secret'],
    ['groups: { g: { ssh-key: x } }\nhosts: { a: }', '1:16', '`ssh-key` is a secret'],
    ['hosts: { a: { verify: { ssh-key: x } } }', '1:25', '`ssh-key` is a secret'],
    ['hosts: { a: { fleet-file: x } }', '1:15', 'cannot name another fleet file'],
    ['hosts: { a: }\nrollout: { canary: b }', '2:20', 'unknown host'],
    [
      'hosts: { web1: }\nrollout: { canary: [wbe1] }',
      '2:21',
      'unknown host `wbe1`; did you mean `web1`?',
    ],
    [
      'hosts: { a: }\nrollout: { max-paralel: 2 }',
      '2:12',
      'unknown key `max-paralel`; did you mean `max-parallel`?',
    ],
  ])('%j is refused at %s', (text, where, problem) => {
    const error = errorOf(() => parseFleet(path, text));
    expect(`${error.where} ${error.message}`).toContain(`${path}:${where} `);
    expect(error.message).toContain(problem);
  });
});

describe('an unknown key at the top of a fleet file', () => {
  it.each(['hots: { a: }', 'defaults:\nhots: { a: }', 'hosts: { a: }\nwhat:'])(
    'says which sections there are: %j',
    (text) => {
      expect(errorOf(() => parseFleet(path, text)).expected).toMatch(
        /^one of `defaults`, `groups`, `hosts`, `rollout`/,
      );
    },
  );

  it('is not repeated where it may be part of a secret', () => {
    expect(errorOf(() => parseFleet(path, 'hunter2: a')).message).toBe('unknown key');
  });

  it('is no second document where one only ends', () => {
    expect(parseFleet(path, '---\nunit: a\n...\n').hosts).toBeNull();
  });
});

describe('the JSON Schema of the fleet file', () => {
  const schema = z.fromJSONSchema(
    JSON.parse(readFileSync(join(root, 'docs/reference/fleet.schema.json'), 'utf8')),
  );

  const pages = execFileSync('git', ['ls-files', '*.md'], { cwd: root, encoding: 'utf8' });
  const examples = pages
    .split('\n')
    .filter((page) => page !== '' && existsSync(join(root, page)))
    .flatMap((page) => {
      const text = readFileSync(join(root, page), 'utf8');
      const blocks = [...text.matchAll(/^( *)```yaml\n(.*?)^\1```/gms)].map(
        ([, indent = '', block = '']) => block.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
      );
      return blocks
        .filter((block) => block.includes('yaml-language-server'))
        .map((block) => [page, block] as const);
    });
  const isValid = (text: string): boolean => schema.safeParse(parse(text)).success;

  it('is the published one', () => {
    expect(JSON.parse(JSON.stringify(fleetSchema()))).toEqual(
      JSON.parse(readFileSync(join(root, 'docs/reference/fleet.schema.json'), 'utf8')),
    );
  });

  it('is named in the first line of examples in the docs', () => {
    const home = `${packageJson.repository.replace('github:', '')}/v${packageJson.version}`;
    const url = `https://raw.githubusercontent.com/${home}/docs/reference/fleet.schema.json`;
    expect(examples.length).toBeGreaterThan(2);
    for (const [page, text] of examples) {
      expect(`${page}: ${text.split('\n')[0]}`).toBe(
        `${page}: # yaml-language-server: $schema=${url}`,
      );
    }
  });

  it.each(examples)('and the reader accept the example in %s: %s', (_, text) => {
    expect(schema.safeParse(parse(text)).error).toBeUndefined();
    expect(() => parseFleet(path, text)).not.toThrow();
  });

  it.each([
    ['ssh-key: x'],
    ['host: a\nunti: b'],
    ['fleet-file: a'],
    ['hosts: {}'],
    ['hosts: { a: }\nunit: b'],
    ['hosts: { -a: }'],
    ['hosts: { a: { cleanup: { swap-size: 2G } } }'],
    ['defaults: { unit: a }'],
    ['queues: []'],
    ['checks: []'],
  ])('and the reader refuse %j', (text) => {
    expect(isValid(text)).toBe(false);
    expect(() => parseFleet(path, text)).toThrow(ConfigError);
  });

  it.each([['port: twenty'], ['port: 70000'], ['unit-mode: overwrite'], ['dry-run: maybe']])(
    'refuses the value in %j',
    (text) => {
      expect(isValid(text)).toBe(false);
    },
  );

  it.each([
    ['verify: { checks: [{ name: x, comand: y }] }'],
    ['checks: [{ name: x, command: y, status: up }]'],
    ['checks: [{ command: y }]'],
    ['checks: [{ name: x, command: [] }]'],
    ['checks: [{ name: "a\\nb", command: y }]'],
    ['stores: [{ database: /srv/a.db, tabels: {} }]'],
    ['cleanup: { stores: [{ database: /srv/a.db, tables: { jobs: { statis: x } } }] }'],
    ['stores: [{ database: /srv/a.db, tables: { jobs: { words: { a: b } } } }]'],
    ['stores: [{ tables: {} }]'],
    ['stores: [{ database: /srv/a.db, tables: { a: { resend: { task: "a b" } } } }]'],
  ])('and the reader of the list refuse %j', (text) => {
    expect(isValid(text)).toBe(false);
    expect(isValid(`hosts: { a: { ${text} } }`)).toBe(false);
    const values = parseFleetFile(path, text, text.includes('checks') ? 'verify' : 'cleanup');
    const lists = () => [
      parseOwnChecks(values.get('checks')?.text ?? ''),
      parseStores(values.get('stores')?.text ?? ''),
    ];
    expect(lists).toThrow(ConfigError);
  });

  it.each([
    ['checks: [{ name: the queue board, command: [python, x.py], exit-code: 1, timeout: 2m }]'],
    ['checks: |\n  - { name: a, url: "http://x/", status: 204, contains: OK }'],
    [
      'stores: [{ database: /srv/a.db, tables: { a: { ignore: true }, b: { id: x, parent: null, completed: null } } }]',
    ],
    [
      'stores: [{ database: /srv/a.db, tables: { a: { words: { x: failed }, parent: { table: b, column: c }, resend: { task: a.b, args: [id], queue: q } } } }]',
    ],
    ['stores: [{ database: /srv/a.db, tables: { a: { resend: { task: a.b } } } }]'],
    ['stores: [{ database: /srv/a.db }]'],
  ])('and the reader of the list accept %j', (text) => {
    expect(schema.safeParse(parse(text)).error).toBeUndefined();
    const values = parseFleetFile(path, text, text.includes('checks') ? 'verify' : 'cleanup');
    const checks = parseOwnChecks(values.get('checks')?.text ?? '');
    const stores = parseStores(values.get('stores')?.text ?? '');
    expect(checks.length + stores.length).toBe(1);
  });

  it('accepts what the defaults are', () => {
    expect(isValid(fleet)).toBe(true);
    expect(isValid('port: 22\nagent: streamed\ndry-run: false\nconcurrency: 1')).toBe(true);
  });
});
