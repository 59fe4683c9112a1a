import { execFileSync } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { fingerprint } from '../../../../src/adapters/ssh/host-key.ts';
import { matchesPattern } from '../../../../src/adapters/ssh/host-patterns.ts';
import { linesForHost, pinnedKeys } from '../../../../src/adapters/ssh/known-hosts.ts';
import { ConfigError } from '../../../../src/model/errors.ts';

const folder = mkdtempSync(join(tmpdir(), 'celeriac-known-hosts-'));
afterAll(() => rmSync(folder, { recursive: true }));

function makeKey(name: string, ...type: readonly string[]): string {
  const path = join(folder, name);
  execFileSync('ssh-keygen', ['-q', '-N', '', '-C', 'comment here', '-f', path, '-t', ...type]);
  return readFileSync(`${path}.pub`, 'utf8').trim();
}

const ed25519 = makeKey('ed25519', 'ed25519');
const other = makeKey('other', 'ed25519');
const ecdsa256 = makeKey('ecdsa256', 'ecdsa', '-b', '256');
const ecdsa521 = makeKey('ecdsa521', 'ecdsa', '-b', '521');
const rsa = makeKey('rsa', 'rsa', '-b', '2048');

const blob = (line: string) => Buffer.from(line.split(' ')[1] ?? '', 'base64');
const hashed = (name: string) => {
  const salt = randomBytes(20);
  const hash = createHmac('sha1', salt).update(name).digest('base64');
  return `|1|${salt.toString('base64')}|${hash}`;
};

function refusal(text: string, host = 'vps.example.org', port = 22): ConfigError {
  try {
    pinnedKeys(text, host, port);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('expected a ConfigError');
}

describe('fingerprints', () => {
  test.each([
    ['ed25519', ed25519],
    ['ecdsa256', ecdsa256],
    ['ecdsa521', ecdsa521],
    ['rsa', rsa],
  ])('of %s are those of ssh-keygen -lf', (name, line) => {
    const printed = execFileSync('ssh-keygen', ['-lf', join(folder, `${name}.pub`)], {
      encoding: 'utf8',
    });
    expect(fingerprint(blob(line))).toBe(printed.split(' ')[1]);
  });
});

describe('which key types are offered', () => {
  test.each([
    [[ed25519], ['ssh-ed25519']],
    [[ecdsa256], ['ecdsa-sha2-nistp256']],
    [[rsa], ['rsa-sha2-512', 'rsa-sha2-256']],
    [
      [rsa, ecdsa521, ed25519],
      ['ssh-ed25519', 'ecdsa-sha2-nistp521', 'rsa-sha2-512', 'rsa-sha2-256'],
    ],
  ])('only those that are pinned (%#)', (keys, algorithms) => {
    const text = keys.map((key) => `vps.example.org ${key}\n`).join('');
    expect(pinnedKeys(text, 'vps.example.org', 22).algorithms).toEqual(algorithms);
  });
});

describe('which lines name the host', () => {
  const accepts = (names: string, host: string, port = 22) => {
    const text = `${names} ${ed25519}\nunrelated.example ${other}\n`;
    try {
      return pinnedKeys(text, host, port).verify(blob(ed25519)).kind === 'accepted';
    } catch (error) {
      if (error instanceof ConfigError) return false;
      throw error;
    }
  };

  test.each([
    ['vps.example.org', 'vps.example.org', 22],
    ['VPS.example.ORG', 'vps.example.org', 22],
    ['vps.example.org', 'VPS.Example.org', 22],
    ['other,vps.example.org,10.0.0.1', 'vps.example.org', 22],
    ['*.example.org', 'vps.example.org', 22],
    ['v?s.example.org', 'vps.example.org', 22],
    ['*', 'vps.example.org', 22],
    ['*.example.org,!db.example.org', 'vps.example.org', 22],
    ['[vps.example.org]:2222', 'vps.example.org', 2222],
    ['[*.example.org]:2222', 'vps.example.org', 2222],
    ['[vps.example.org]:*', 'vps.example.org', 2222],
    ['2001:db8::1', '2001:db8::1', 22],
    ['[2001:db8::1]:2222', '2001:db8::1', 2222],
  ])('%s is %s port %i', (names, host, port) => {
    expect(accepts(names, host, port)).toBe(true);
  });

  test.each([
    ['vps.example.com', 'vps.example.org', 22],
    ['vps.example.org', 'vps.example.org', 2222],
    ['[vps.example.org]:2222', 'vps.example.org', 22],
    ['[vps.example.org]:2222', 'vps.example.org', 2223],
    ['*.example.org', 'example.org', 22],
    ['v?.example.org', 'vps.example.org', 22],
    ['*.example.org,!vps.example.org', 'vps.example.org', 22],
    ['!vps.example.org,*.example.org', 'vps.example.org', 22],
    ['!db.example.org', 'vps.example.org', 22],
  ])('%s is not %s port %i', (names, host, port) => {
    expect(accepts(names, host, port)).toBe(false);
  });

  test('hashed names, also with a port, are found and others are not', () => {
    expect(accepts(hashed('vps.example.org'), 'VPS.example.org')).toBe(true);
    expect(accepts(hashed('[vps.example.org]:2222'), 'vps.example.org', 2222)).toBe(true);
    expect(accepts(hashed('vps.example.org'), 'vps.example.org', 2222)).toBe(false);
    expect(accepts(hashed('db.example.org'), 'vps.example.org')).toBe(false);
  });

  test('a file that ssh-keygen -H hashed is understood', () => {
    const path = join(folder, 'known_hosts');
    writeFileSync(path, `vps.example.org,10.0.0.1 ${ed25519}\n[db.example.org]:2222 ${rsa}\n`);
    execFileSync('ssh-keygen', ['-H', '-f', path], { stdio: 'ignore' });
    const text = readFileSync(path, 'utf8');
    expect(text).not.toContain('example.org');
    expect(pinnedKeys(text, '10.0.0.1', 22).verify(blob(ed25519)).kind).toBe('accepted');
    expect(pinnedKeys(text, 'vps.example.org', 22).algorithms).toEqual(['ssh-ed25519']);
    expect(pinnedKeys(text, 'db.example.org', 2222).verify(blob(rsa)).kind).toBe('accepted');
    expect(refusal(text, 'db.example.org', 22).message).toContain('no key for db.example.org');
  });

  test('ssh-keygen -F finds the same lines', () => {
    const names = ['a.example', '*.example', 'a?c', '[a.example]:22', '[a.b]:2222', 'x,!a.b,*'];
    const hosts = [
      ['a.example', 22],
      ['b.example', 22],
      ['abc', 22],
      ['a.b', 22],
      ['a.b', 2222],
      ['x', 22],
    ] as const;
    for (const list of names) {
      const path = join(folder, 'lookup');
      writeFileSync(path, `${list} ${ed25519}\n`);
      for (const [host, port] of hosts) {
        let found = true;
        try {
          const entry = port === 22 ? host : `[${host}]:${port}`;
          execFileSync('ssh-keygen', ['-F', entry, '-f', path], { stdio: 'ignore' });
        } catch {
          found = false;
        }
        expect([list, host, port, accepts(list, host, port)]).toEqual([list, host, port, found]);
      }
    }
  });
});

describe('patterns', () => {
  const quoteDots = (text: string) => text.replace(/[.[\]]/g, '\\$&');
  const expression = (pattern: string) =>
    new RegExp(`^${quoteDots(pattern).replaceAll('*', '.*').replaceAll('?', '.')}$`);

  test('match like the equivalent regular expression', () => {
    // A small generator of numbers, so that a failure can be seen again.
    let state = 1;
    const random = (below: number) => {
      state = (state * 48271) % 2147483647;
      return state % below;
    };
    const word = (letters: string) =>
      Array.from({ length: random(8) }, () => letters[random(letters.length)]).join('');
    for (let round = 0; round < 5000; round += 1) {
      const pattern = word('ab.*?');
      const name = word('ab.');
      expect([pattern, name, matchesPattern(pattern, name)]).toEqual([
        pattern,
        name,
        expression(pattern).test(name),
      ]);
    }
  });

  test('take linear time however many stars there are', () => {
    expect(matchesPattern(`${'*a'.repeat(100)}b`, 'a'.repeat(5000))).toBe(false);
  });
});

describe('the verdict', () => {
  const text = [
    '# a comment',
    '',
    `  vps.example.org ${ed25519} trailing words`,
    `vps.example.org ${rsa}`,
  ].join('\r\n');

  test('accepts any of several pinned keys', () => {
    const pins = pinnedKeys(text, 'vps.example.org', 22);
    expect(pins.verify(blob(ed25519))).toEqual({
      kind: 'accepted',
      line: 3,
      got: { type: 'ssh-ed25519', fingerprint: fingerprint(blob(ed25519)) },
    });
    expect(pins.verify(blob(rsa))).toMatchObject({ kind: 'accepted', line: 4 });
  });

  test('a mismatch names the expected and the presented key', () => {
    expect(pinnedKeys(text, 'vps.example.org', 22).verify(blob(other))).toEqual({
      kind: 'mismatch',
      got: { type: 'ssh-ed25519', fingerprint: fingerprint(blob(other)) },
      expected: [
        { type: 'ssh-ed25519', fingerprint: fingerprint(blob(ed25519)) },
        { type: 'ssh-rsa', fingerprint: fingerprint(blob(rsa)) },
      ],
    });
  });

  test('a revoked key is refused wherever its line stands, and others stay valid', () => {
    for (const lines of [
      [`vps.example.org ${ed25519}`, `vps.example.org ${rsa}`, `@revoked * ${ed25519}`],
      [`@revoked vps.* ${ed25519}`, `vps.example.org ${ed25519}`, `vps.example.org ${rsa}`],
    ]) {
      const pins = pinnedKeys(lines.join('\n'), 'vps.example.org', 22);
      expect(pins.verify(blob(ed25519)).kind).toBe('revoked');
      expect(pins.verify(blob(rsa)).kind).toBe('accepted');
      expect(pins.algorithms).toEqual(['rsa-sha2-512', 'rsa-sha2-256']);
    }
  });

  test('a marker on another host does not count', () => {
    const marked = `vps.example.org ${ed25519}\n@revoked db.example.org ${ed25519}\n`;
    expect(pinnedKeys(marked, 'vps.example.org', 22).verify(blob(ed25519)).kind).toBe('accepted');
  });

  test('a line of an unknown key type is tolerated', () => {
    const name = Buffer.from('ssh-future@example.org');
    const future = Buffer.alloc(4 + name.length + 8);
    future.writeUInt32BE(name.length, 0);
    name.copy(future, 4);
    future.writeUInt32BE(4, 4 + name.length);
    const line = `vps.example.org ${name} ${future.toString('base64')}`;
    const pins = pinnedKeys(`${line}\nvps.example.org ${ed25519}\n`, 'vps.example.org', 22);
    expect(pins.algorithms).toEqual(['ssh-ed25519']);
    expect(refusal(line).message).toContain('only keys of unsupported types');
  });
});

describe('refusals', () => {
  const key = ed25519.split(' ')[1] ?? '';

  test.each([
    ['', 'has no host key'],
    ['# only a comment\n\n', 'has no host key'],
    [`db.example.org ${ed25519}`, 'no key for vps.example.org'],
    [`[vps.example.org]:2222 ${ed25519}`, 'line 1 names the host with another port'],
    [`@cert-authority *.example.org ${ed25519}`, 'certificates are not supported'],
    [`@revoked vps.example.org ${ed25519}`, 'only @revoked lines of `known-hosts` match'],
    [`vps.example.org ${ed25519}\n@revoked * ${ed25519}`, 'marked @revoked'],
  ])('nothing to pin (%#): %s', (text, problem) => {
    const error = refusal(text);
    expect(error.where).toBe('input known-hosts');
    expect(error.message).toContain(problem);
    expect(error.expected).toContain('ssh-keyscan vps.example.org');
    expect(error.expected).toContain('ssh-keygen -lf');
  });

  test('the hint names the port', () => {
    expect(refusal('', 'vps.example.org', 2222).expected).toContain(
      'ssh-keyscan -p 2222 vps.example.org',
    );
  });

  test.each([
    ['vps.example.org', 'incomplete'],
    ['vps.example.org ssh-ed25519', 'incomplete'],
    [`vps.example.org ssh-ed25519 ${key.slice(0, 40)}`, 'cut off'],
    [`vps.example.org ssh-ed25519 ${key}!`, 'not base64'],
    [`vps.example.org ssh-rsa ${key}`, 'does not match the type on the line'],
    [`vps.example.org ssh-ed25519 AAAA`, 'cut off'],
    [ed25519, 'the host name in front of the key is missing'],
    [`SHA256:abcdef vps ssh-ed25519`, 'a fingerprint'],
    [`@trusted vps.example.org ${ed25519}`, 'the marker is unknown'],
    [`vps.example.org,,db ${ed25519}`, 'empty'],
    [`vps.example.org,! ${ed25519}`, 'empty'],
    [`|1|abc|def ${ed25519}`, 'the hashed host name is malformed'],
    [`|2|${randomBytes(20).toString('base64')}|x ${ed25519}`, 'hashed host name is malformed'],
    ['vps.example.org 1024 35 123456789', 'SSH protocol 1'],
    ['-----BEGIN OPENSSH PRIVATE KEY-----', 'a key file'],
  ])('a bad line (%#)', (line, problem) => {
    const error = refusal(`# first\r\nvps.example.org ${ed25519}\r\n${line}\r\n`);
    expect(error.where).toBe('known-hosts:3');
    expect(error.message).toContain(problem);
    expect(`${error.message} ${error.expected}`).not.toContain(key.slice(0, 30));
  });
});

describe("a person's own file", () => {
  const pin = (text: string, host = 'vps.example.org', port = 22) =>
    pinnedKeys(linesForHost(text, host, port), host, port);

  test('may have unsupported lines for other hosts', () => {
    const text = `# mine\ndb.example.org what is this\n|1|abc|def ${ed25519}\nvps.example.org ${ed25519}\n`;
    expect(() => pinnedKeys(text, 'vps.example.org', 22)).toThrow(ConfigError);
    expect(pin(text).verify(blob(ed25519))).toMatchObject({ kind: 'accepted', line: 4 });
  });

  test.each(['vps.example.org', '*.example.org', '*'])('keeps revocations for %s', (names) => {
    const text = `vps.example.org ${ed25519}\nvps.example.org ${rsa}\n@revoked ${names} ${ed25519}\n`;
    expect(pin(text).verify(blob(ed25519)).kind).toBe('revoked');
    expect(pin(text).verify(blob(rsa)).kind).toBe('accepted');
  });

  test('distinguishes names and ports', () => {
    const text = `${hashed('vps.example.org')} ${ed25519}\n[db.example.org]:2222 ${rsa}\n`;
    expect(pin(text).expected).toHaveLength(1);
    expect(pin(text, 'DB.example.org', 2222).expected).toHaveLength(1);
    expect(() => pin(text, 'db.example.org')).toThrow('line 2 names the host with another port');
    expect(() => pin(text, 'new.example.org')).toThrow('no key for new.example.org is pinned');
  });

  test.each(['*', '*.example.org', 'web*,db*', hashed('web.example.org')])(
    'beside those of another host, a line of one pins only that one: %s',
    (names) => {
      const web = linesForHost(`${names} ${rsa}\n`, 'web.example.org', 22);
      const db = linesForHost(
        `db.example.org ${ed25519}\n@revoked old* ${rsa}\n`,
        'db.example.org',
        22,
      );
      for (const text of [`${web}\n${db}`, `${db}\n${web}`]) {
        const pinned = pinnedKeys(text, 'db.example.org', 22);
        expect(pinned.verify(blob(rsa)).kind).toBe('mismatch');
        expect(pinned.verify(blob(ed25519)).kind).toBe('accepted');
        expect(pinnedKeys(text, 'web.example.org', 22).verify(blob(rsa)).kind).toBe('accepted');
      }
    },
  );

  test('nor does a line for another port pin a host beside it', () => {
    const web = linesForHost(
      `[web.example.org]:2222 ${ed25519}\nweb.example.org,db.example.org ${rsa}\n`,
      'web.example.org',
      2222,
    );
    const db = linesForHost(`db.example.org ${ed25519}\n`, 'db.example.org', 22);
    const pinned = pinnedKeys(`${web}\n${db}`, 'db.example.org', 22);
    expect(pinned.expected).toHaveLength(1);
    expect(pinned.verify(blob(rsa)).kind).toBe('mismatch');
  });

  test('a bad line of the host itself is named', () => {
    expect(() => pin(`\nvps.example.org ssh-ed25519\n`)).toThrow('line 2 of `known-hosts`');
  });
});
