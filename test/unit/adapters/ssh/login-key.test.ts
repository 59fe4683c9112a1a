import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { parseLoginKey } from '../../../../src/adapters/ssh/login-key.ts';
import { ConfigError } from '../../../../src/model/errors.ts';

const folder = mkdtempSync(join(tmpdir(), 'celeriac-login-key-'));
afterAll(() => rmSync(folder, { recursive: true }));

const PASSPHRASE = 'correct horse';

function makeKey(name: string, passphrase: string, ...type: readonly string[]) {
  const path = join(folder, name);
  execFileSync('ssh-keygen', ['-q', '-N', passphrase, '-C', 'me', '-f', path, '-t', ...type]);
  return {
    path,
    private: readFileSync(path, 'utf8'),
    public: readFileSync(`${path}.pub`, 'utf8').trim(),
  };
}

const plain = makeKey('plain', '', 'ed25519');
const locked = makeKey('locked', PASSPHRASE, 'ed25519');
const rsa = makeKey('rsa', '', 'rsa', '-b', '2048');
const pem = makeKey('pem', '', 'rsa', '-b', '2048', '-m', 'PEM');
const lockedPem = makeKey('locked-pem', PASSPHRASE, 'rsa', '-b', '2048', '-m', 'PEM');
const ecdsa = makeKey('ecdsa', '', 'ecdsa');
const pkcs8 = makeKey('pkcs8', '', 'rsa', '-b', '2048', '-m', 'PKCS8');

describe('keys that can be used', () => {
  test.each([
    ['OpenSSH ed25519', plain, undefined],
    ['OpenSSH ed25519 with a passphrase', locked, PASSPHRASE],
    ['OpenSSH ECDSA', ecdsa, undefined],
    ['OpenSSH RSA', rsa, undefined],
    ['PEM RSA', pem, undefined],
    ['PEM RSA with a passphrase', lockedPem, PASSPHRASE],
    ['a key without a passphrase, though one is given', plain, 'unneeded'],
    ['a key without a passphrase, and an empty one', plain, ''],
  ])('%s', (_name, pair, passphrase) => {
    const key = parseLoginKey(pair.private, passphrase);
    const printed = execFileSync('ssh-keygen', ['-lf', `${pair.path}.pub`], { encoding: 'utf8' });
    expect(key.fingerprint).toBe(printed.split(' ')[1]);
    expect(key.authorizedLine).toBe(pair.public.split(' ').slice(0, 2).join(' '));
  });

  test.each([
    ['line ends of Windows', (text: string) => text.replaceAll('\n', '\r\n')],
    ['line ends of an old Mac', (text: string) => text.replaceAll('\n', '\r')],
    ['space around it', (text: string) => `\n\n  ${text}  \n`],
    ['no last line end', (text: string) => text.trimEnd()],
    ['indentation, as in YAML', (text: string) => text.replace(/^/gm, '    ')],
    ['indentation but in the first line', (text: string) => text.replace(/\n/g, '\n\t')],
    ['spaces at the ends of lines', (text: string) => text.replace(/$/gm, '  ')],
    ['Windows line ends and spaces', (text: string) => text.replaceAll('\n', ' \r\n')],
    ['a byte order mark', (text: string) => `\uFEFF${text}`],
    ['its public half after it', (text: string) => `${text}\n${plain.public}\n`],
    ['line breaks as \\n', (text: string) => text.replaceAll('\n', '\\n')],
    ['line breaks as \\r\\n', (text: string) => text.replaceAll('\n', '\\r\\n')],
    ['line breaks as spaces', (text: string) => text.replaceAll('\n', ' ')],
    ['no line breaks', (text: string) => text.replaceAll('\n', '')],
    ['no last line break', (text: string) => text.trimEnd()],
    ['its public half before it', (text: string) => `${plain.public}\n${text}`],
    ['a title', (text: string) => `# the key of the deploy user\n\n${text}`],
  ])('with %s', (_name, mangle) => {
    for (const pair of [plain, pem]) {
      expect(parseLoginKey(mangle(pair.private)).authorizedLine).toBe(
        pair.public.split(' ').slice(0, 2).join(' '),
      );
    }
  });
});

/** As `ssh-keygen -t ed25519-sk` writes it: the private half is a handle for the token. */
function hardwareKey(): string {
  const text = (value: string | Buffer) => {
    const bytes = Buffer.from(value);
    const size = Buffer.alloc(4);
    size.writeUInt32BE(bytes.length);
    return Buffer.concat([size, bytes]);
  };
  const type = text('sk-ssh-ed25519@openssh.com');
  const open = Buffer.concat([type, text(Buffer.alloc(32, 7)), text('ssh:')]);
  const handle = Buffer.concat([Buffer.from([1]), text(Buffer.alloc(64, 9)), text('')]);
  const secret = Buffer.concat([Buffer.alloc(8, 1), open, handle, text('me')]);
  const count = Buffer.from([0, 0, 0, 1]);
  const parts = [text('none'), text('none'), text(''), count, text(open), text(secret)];
  const body = Buffer.concat([Buffer.from('openssh-key-v1\0'), ...parts]).toString('base64');
  const lines = body.match(/.{1,70}/g) ?? [];
  const [begin, end] = ['BEGIN', 'END'].map((word) => `-----${word} OPENSSH PRIVATE KEY-----`);
  return [begin, ...lines, end, ''].join('\n');
}

describe('keys that cannot', () => {
  const cut = (text: string) => text.slice(0, text.length / 2);
  const lines = (text: string) => text.trim().split('\n');
  const without = (text: string, index: number) =>
    lines(text)
      .filter((_line, at) => at !== index)
      .join('\n');

  test.each([
    ['an empty input', '', undefined, 'input ssh-key', '`ssh-key` is empty'],
    ['only space', ' \n ', undefined, 'input ssh-key', '`ssh-key` is empty'],
    ['a public key', plain.public, undefined, 'input ssh-key', 'the public half'],
    ['a public RSA key', rsa.public, undefined, 'input ssh-key', 'the public half'],
    ['a key cut off', cut(plain.private), undefined, 'input ssh-key', 'cut off'],
    ['a locked key cut off', cut(locked.private), PASSPHRASE, 'input ssh-key', 'cut off'],
    ['a missing line', without(plain.private, 2), undefined, 'input ssh-key', 'damaged'],
    ['a missing line of a PEM', without(pem.private, 5), undefined, 'input ssh-key', 'damaged'],
    [
      'a missing first line',
      without(plain.private, 0),
      undefined,
      'input ssh-key',
      'does not start',
    ],
    [
      'an encrypted PEM on one line, whose headers cannot be told apart',
      lockedPem.private.replaceAll('\n', ' '),
      PASSPHRASE,
      'input ssh-key',
      'all on one line',
    ],
    ['a key of a hardware token', hardwareKey(), undefined, 'input ssh-key', 'hardware key'],
    [
      'a certificate beside it',
      `${plain.private}ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2g= me`,
      undefined,
      'input ssh-key',
      'contains an OpenSSH certificate',
    ],
    [
      'a certificate alone',
      'ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2g= me',
      undefined,
      'input ssh-key',
      'contains an OpenSSH certificate',
    ],
    [
      'a first line run together with the second',
      plain.private.replace('\n', ' '),
      undefined,
      'input ssh-key',
      'lost some of its line breaks',
    ],
    [
      "PuTTY's format, version 3",
      'PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: me\nPublic-Lines: 2\nAAAA\nBBBB\nPrivate-Lines: 1\nCCCC\nPrivate-MAC: 00\n',
      undefined,
      'input ssh-key',
      "PuTTY's format, version 3",
    ],
    [
      "PuTTY's format, version 3, encrypted",
      'PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: aes256-cbc\nComment: me\nKey-Derivation: Argon2id\n',
      'wrong',
      'input ssh-key',
      "PuTTY's format, version 3",
    ],
    [
      "PuTTY's format, version 2, damaged",
      'PuTTY-User-Key-File-2: ssh-ed25519\nEncryption: none\nComment: me\nPublic-Lines: 1\nAAAA\nPrivate-Lines: 1\nCCCC\nPrivate-MAC: 00\n',
      undefined,
      'input ssh-key',
      "PuTTY's format, and is damaged or",
    ],
    [
      'two keys',
      plain.private + rsa.private,
      undefined,
      'input ssh-key',
      'contains 2 private keys',
    ],
    ['quotes', `"${plain.private}"`, undefined, 'input ssh-key', 'is in quotes'],
    [
      'base64 of the file',
      Buffer.from(plain.private).toString('base64'),
      undefined,
      'input ssh-key',
      'encoded with base64',
    ],
    ['a path', '/home/me/.ssh/id_ed25519', undefined, 'input ssh-key', 'does not start'],
    ['PKCS#8', pkcs8.private, undefined, 'input ssh-key', 'PKCS#8'],
    [
      'no passphrase',
      locked.private,
      undefined,
      'input ssh-key-passphrase',
      'is encrypted, and `ssh-key-passphrase` is not given',
    ],
    [
      'no passphrase, PEM',
      lockedPem.private,
      '',
      'input ssh-key-passphrase',
      'is encrypted, and `ssh-key-passphrase` is not given',
    ],
    [
      'a wrong passphrase',
      locked.private,
      'wrong',
      'input ssh-key-passphrase',
      'does not decrypt `ssh-key`',
    ],
    [
      'a wrong one, PEM',
      lockedPem.private,
      'wrong',
      'input ssh-key-passphrase',
      'does not decrypt `ssh-key`',
    ],
  ])('%s', (_name, text, passphrase, where, problem) => {
    let caught: unknown;
    try {
      parseLoginKey(text, passphrase);
    } catch (error) {
      caught = error;
    }
    if (!(caught instanceof ConfigError)) throw new Error(`not a ConfigError: ${String(caught)}`);
    expect(caught.where).toBe(where);
    expect(caught.message).toContain(problem);
    expect(caught.cause).toBeUndefined();
    const said = `${caught.message}\n${caught.expected}`;
    for (const line of text.split(/[\s\\]+/).filter((word) => word.length > 20)) {
      expect(said).not.toContain(line);
    }
    if (passphrase) expect(said).not.toContain(passphrase);
  });
});
