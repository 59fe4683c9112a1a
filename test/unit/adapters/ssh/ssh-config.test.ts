import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { readForLogin, readSshConfig } from '../../../../src/adapters/ssh/ssh-config.ts';
import { listFiles } from '../../../../src/cli/list-files.ts';
import { ConfigError } from '../../../../src/model/errors.ts';

const home = mkdtempSync(join(tmpdir(), 'celeriac-ssh-config-'));
mkdirSync(join(home, '.ssh', 'conf.d'), { recursive: true });
afterAll(() => rmSync(home, { recursive: true, force: true }));

const source = (file: string) => ({
  file,
  home,
  localUser: userInfo().username,
  read: (path: string) => (existsSync(path) ? readFileSync(path, 'utf8') : null),
  list: listFiles,
});

/** What is read of one host: keyword → words. */
function read(text: string, host: string, given: { user?: string } = {}) {
  const file = join(home, '.ssh', 'config');
  writeFileSync(file, text);
  const found = readSshConfig(source(file), host, given);
  const values = [...found.values].map(([keyword, { words }]) => [keyword, words.join(' ')]);
  return {
    ...Object.fromEntries(values),
    identityfile: found.identityFiles.map(({ words }) => words.join(' ')),
    undecided: Object.fromEntries(found.undecided),
  };
}

/** A file that uses what people use; `AT` is the folder of its includes. */
const everything = `
# Comments, and
  # indented ones.
HostName=%h.example.net
Include AT/*.conf
Host vps shop*  !shop-old
    Port 2201
    User   deploy
    IdentityFile "~/.ssh/a key"
Host vps
  HostName 203.0.113.7
  Port 2202
  IdentityFile ~/.ssh/second # a comment
host shop-?
	user = shopper
	IDENTITYFILE=~/.ssh/shop
Include AT/late
Match originalhost inner user inside
  Port 2300
Match host 203.0.113.7,10.* !user deploy
  UserKnownHostsFile /etc/one /etc/two
Match !originalhost vps
  UserKnownHostsFile ~/.ssh/pins
Match all
  User fallback
Host bastion-user
  ProxyJump nika@bastion:2222
Host upper
  Port 2600
Match originalhost UPPER host upper*
  Port 2601
Match user DEPLOY
  Port 2602
Host *
  ProxyJump none
`;

describe('agrees with ssh itself', () => {
  const folder = join(home, '.ssh', 'conf.d');
  // ssh takes a relative path from the home of the account, whatever $HOME says.
  writeFileSync(
    join(folder, '10.conf'),
    `Host inner\n  HostName 10.0.0.5\n  Include ${join(home, '.ssh', 'deeper')}\n`,
  );
  writeFileSync(join(folder, '20.conf'), 'Host other\n  Port 2500\n');
  writeFileSync(join(folder, 'late'), 'Compression yes\nHost *\n  Port 2400\n');
  writeFileSync(
    join(home, '.ssh', 'deeper'),
    'User inside\nHost inner\n  IdentityFile ~/.ssh/in\n',
  );
  const text = everything.replaceAll('AT', folder);

  test.each([
    'vps',
    'shop-1',
    'shop-old',
    'inner',
    'other',
    'bastion-user',
    'Upper',
    'unknown.host',
  ])('about %s', (host) => {
    const ours: Record<string, unknown> = read(text, host);
    const said = spawnSync('ssh', ['-T', '-G', '-F', join(home, '.ssh', 'config'), host], {
      encoding: 'utf8',
    });
    expect([said.status, said.stderr]).toEqual([0, '']);
    const theirs = said.stdout.split('\n').map((line) => {
      const at = line.indexOf(' ');
      return [line.slice(0, at), line.slice(at + 1)] as const;
    });
    const of = (name: string) => theirs.filter(([key]) => key === name).map(([, value]) => value);
    const expand = (value: unknown) => String(value).replaceAll('%h', host);
    // ssh writes names in lower case.
    expect(expand(ours.hostname ?? host).toLowerCase()).toBe(of('hostname')[0]);
    expect(ours.user).toBe(of('user')[0]);
    expect(ours.port ?? '22').toBe(of('port')[0]);
    const jump = ours.proxycommand;
    expect(jump === undefined || jump === 'none' ? [] : [jump]).toEqual(of('proxyjump'));
    if (ours.userknownhostsfile !== undefined) {
      const theirs = of('userknownhostsfile')[0]?.replace(homedir(), '~');
      expect(ours.userknownhostsfile).toBe(theirs);
    }
    const files = ours.identityfile as string[];
    if (files.length > 0) expect(files).toEqual(of('identityfile'));
  });
});

describe('what is not evaluated', () => {
  test('a command is never run, and what it may set is named with its line', () => {
    const ran = join(home, 'ran');
    const text = `Host vps\n  User deploy\nMatch exec "touch ${ran}"\n  User other\n  Port 2222\n`;
    const { user, port, undecided } = read(text, 'vps') as Record<string, unknown>;
    expect([user, port]).toEqual(['deploy', undefined]);
    expect(Object.keys(undecided as object)).toEqual(['port']);
    expect(Object.values(undecided as object)[0]).toMatch(/config:3: Match exec touch/);
    expect(existsSync(ran)).toBe(false);
  });

  test('beside another criterion that does not match, it decides nothing', () => {
    const text = 'Match host other exec true\n  Port 2222\nMatch exec true host vps\n  User x\n';
    expect(read(text, 'third').undecided).toEqual({});
    expect(Object.keys(read(text, 'vps').undecided)).toEqual(['user']);
  });

  test('also in a file that it includes', () => {
    writeFileSync(join(home, '.ssh', 'more'), 'HostName elsewhere\n');
    expect(read('Match exec true\n  Include more\n', 'vps').undecided).toEqual({
      hostname: expect.stringContaining('config:1: Match exec true'),
    });
  });

  test('a flag counts as the user', () => {
    const text = 'Match user deploy\n  Port 2222\n';
    expect(read(text, 'vps', { user: 'deploy' })).toMatchObject({ port: '2222' });
    expect(read(text, 'vps')).not.toHaveProperty('port');
  });
});

describe('`Match user` is about whoever logs in', () => {
  const text = 'Match user nika\n  Port 99\nMatch user root\n  Port 2222\n  User other\n';
  const portOf = (before: string, user?: string) => {
    writeFileSync(join(home, '.ssh', 'config'), `${before}${text}`);
    const local = { ...source(join(home, '.ssh', 'config')), localUser: 'nika' };
    const { values } = readForLogin(local, 'vps', { user, usual: 'root' });
    return [values.get('port')?.words[0], values.get('user')?.words[0]];
  };

  test('nobody says who: as `ssh root@vps`', () => {
    expect(portOf('')).toEqual(['2222', undefined]);
  });

  test('a flag, or the file, also below, says who', () => {
    expect(portOf('', 'nika')).toEqual(['99', undefined]);
    expect(portOf('User root\n')).toEqual(['2222', 'root']);
    expect(portOf('Match localuser nika user nika\n  User deploy\n')).toEqual([
      undefined,
      'deploy',
    ]);
  });
});

test.each(['HostName "open', 'Port'])('%j is refused with its line, as ssh does', (line) => {
  let error: unknown;
  try {
    read(`Host vps\n${line}\n`, 'vps');
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(ConfigError);
  expect((error as ConfigError).where).toBe(`${join(home, '.ssh', 'config')}:2`);
});

test.each(['conf.d/[ab].conf', '~nika/.ssh/config', '~', '%d/more', `$\{HOME}/more`, 'a\\*'])(
  'Include %j is refused with its line, unless it is for another host',
  (pattern) => {
    const text = `Host vps\nInclude ${pattern}\n`;
    expect(() => read(text, 'vps')).toThrow('is not supported');
    expect(() => read(text, 'vps')).toThrow(
      expect.objectContaining({ where: expect.stringMatching(/config:2$/) }),
    );
    expect(read(text, 'other')).toMatchObject({ undecided: {} });
  },
);

test('files that include each other end', () => {
  writeFileSync(join(home, '.ssh', 'loop'), 'Include loop\n');
  expect(() => read('Include loop\n', 'vps')).toThrow('too many levels');
});
