import ssh2 from 'ssh2';
import { describe, expect, test } from 'vitest';
import { parsePublicKeys, renderPublicKey } from '../../../src/config/public-keys.ts';
import { parseAllowedSigners } from '../../../src/config/signers.ts';

const made = ssh2.utils.generateKeyPairSync('ed25519', { comment: 'ci' });
const [type = '', base64 = ''] = made.public.split(' ');
const ecdsa = ssh2.utils.generateKeyPairSync('ecdsa', { bits: 256 }).public;

describe('a file of public keys', () => {
  test('may have several, with comments', () => {
    const keys = parsePublicKeys(`# ours\n${made.public}\r\n\n  ${ecdsa}\n`, 'ci.pub');
    expect(keys.map((key) => key.type)).toEqual(['ssh-ed25519', 'ecdsa-sha2-nistp256']);
    expect(renderPublicKey(keys[0] ?? { type, base64, comment: '' })).toBe(`${type} ${base64} ci`);
  });

  test.each([
    ['', 'there is no key'],
    [made.private, 'this is a private key'],
    ['PuTTY-User-Key-File-3: ssh-ed25519\n', 'this is a private key'],
    [`command="/bin/sh" ${made.public}`, 'not a public key'],
    [`ssh-dss ${base64}`, 'not a public key'],
    [`ssh-rsa ${base64}`, 'the key is damaged'],
    [`${type} ${base64.slice(0, 8)}`, 'the key is damaged'],
    [`${type} not/base64!`, 'the key is damaged'],
    ['sk-ssh-ed25519@openssh.com AAAA', 'must be touched'],
  ])('%# is refused', (text, problem) => {
    expect(() => parsePublicKeys(text, 'ci.pub')).toThrow(problem);
  });

  test('cannot smuggle another line or option in with a comment', () => {
    const [key] = parsePublicKeys(`${type} ${base64} a\u001b[2J\u2028b`, 'ci.pub');
    expect(key?.comment).toBe('a[2J b');
  });
});

describe('a file of allowed signers', () => {
  test('is that of ssh-keygen', () => {
    const text = `# who may\nalice@example.com namespaces="git" ${made.public}\nbob ${ecdsa}\n`;
    expect(parseAllowedSigners(text, 'signers')).toEqual([
      { name: 'alice@example.com', key: `${type} ${base64}` },
      { name: 'bob', key: ecdsa.trim().split(' ').slice(0, 2).join(' ') },
    ]);
  });

  test.each([
    ['', 'there is no signer'],
    [made.public, 'not a line'],
    [`* ${made.public}`, 'not a line'],
    [`a,b ${made.public}`, 'not a line'],
    [`alice cert-authority ${made.public}`, 'the option cert-authority is not supported'],
    [`alice valid-before="2020" ${made.public}`, 'is not supported'],
  ])('%# is refused', (text, problem) => {
    expect(() => parseAllowedSigners(text, 'signers')).toThrow(problem);
  });
});
