import ssh2, { type ParsedKey } from 'ssh2';
import { ConfigError } from '../../model/errors.ts';
import { fingerprint } from './host-key.ts';

/** A private key, ready to log in with. It lives in memory only. */
export interface LoginKey {
  readonly type: string;
  /** `SHA256:…` of its public half. */
  readonly fingerprint: string;
  /** Its public half, as a line of authorized_keys. */
  readonly authorizedLine: string;
  readonly parsed: ParsedKey;
}

const KEY_INPUT = 'input ssh-key';
const PASSPHRASE_INPUT = 'input ssh-key-passphrase';
const WHOLE_FILE =
  'the whole text of a private key file, from `-----BEGIN … PRIVATE KEY-----` to `-----END … PRIVATE KEY-----`, with its line breaks';

/**
 * Parses the key before anything connects. Accepts Windows line ends. Neither the key nor the
 * message of the parser, which may quote it, appears in an error.
 *
 * @throws ConfigError naming `ssh-key` or `ssh-key-passphrase`.
 */
export function parseLoginKey(text: string, passphrase?: string): LoginKey {
  const key = text.replace(/\r\n?/g, '\n').trim();
  checkShape(key);
  const secret = passphrase === undefined || passphrase === '' ? undefined : passphrase;
  const parsed = readKey(key, secret);
  const publicKey = parsed.getPublicSSH();
  return {
    type: parsed.type,
    fingerprint: fingerprint(publicKey),
    authorizedLine: `${parsed.type} ${publicKey.toString('base64')}`,
    parsed,
  };
}

function checkShape(key: string): void {
  const fail = (problem: string, expected = WHOLE_FILE): never => {
    throw new ConfigError(KEY_INPUT, problem, expected);
  };
  if (key === '') fail('`ssh-key` is empty');
  if (
    /^(ssh-|ecdsa-sha2-|sk-)\S+ +AAAA/.test(key) ||
    /^-{4,5} ?BEGIN (SSH2 |RSA )?PUBLIC KEY/.test(key)
  ) {
    fail('`ssh-key` is the public half of a key', 'the private half: the file without `.pub`');
  }
  if (key.startsWith('PuTTY-User-Key-File-')) return;
  if (!key.includes('\n') && key.includes('\\n')) {
    fail('the line breaks of `ssh-key` were turned into the two characters `\\n`');
  }
  if (!key.startsWith('-----BEGIN ')) fail('`ssh-key` does not start like a private key');
  if (!/-----END [A-Z0-9 ]+-----$/.test(key))
    fail('`ssh-key` is cut off: its last line is missing');
  if (!key.includes('\n')) fail('`ssh-key` has lost its line breaks: it is all on one line');
  if (!/^-----BEGIN [A-Z0-9 ]+-----\n/.test(key) || !/\n-----END [A-Z0-9 ]+-----$/.test(key)) {
    fail('`ssh-key` has lost some of its line breaks');
  }
  const label = /^-----BEGIN ([A-Z0-9 ]+)-----/.exec(key)?.[1] ?? '';
  if (label === 'PRIVATE KEY' || label === 'ENCRYPTED PRIVATE KEY') {
    fail(
      '`ssh-key` is in PKCS#8 format, which is not supported',
      'the OpenSSH format: `ssh-keygen -p -f KEYFILE` converts the file',
    );
  }
}

function readKey(key: string, passphrase: string | undefined): ParsedKey {
  const result = tryParse(key, passphrase);
  if (result instanceof Error) throw explainParse(key, passphrase, result.message);
  const parsed = Array.isArray(result) ? result[0] : result;
  if (parsed === undefined || !parsed.isPrivateKey()) {
    throw new ConfigError(KEY_INPUT, '`ssh-key` holds no private key', WHOLE_FILE);
  }
  return parsed;
}

function tryParse(key: string, passphrase: string | undefined): ParsedKey | ParsedKey[] | Error {
  try {
    return ssh2.utils.parseKey(key, passphrase);
  } catch (error) {
    return error instanceof Error ? error : new Error('unreadable');
  }
}

function explainParse(key: string, passphrase: string | undefined, reason: string): ConfigError {
  if (isEncrypted(key)) {
    if (passphrase === undefined) {
      return new ConfigError(
        PASSPHRASE_INPUT,
        '`ssh-key` is encrypted, and `ssh-key-passphrase` is not given',
        'the passphrase of the key, or a key without one',
      );
    }
    if (!/unsupported|truncated/i.test(reason)) {
      return new ConfigError(
        PASSPHRASE_INPUT,
        '`ssh-key-passphrase` does not decrypt `ssh-key`, or the key is damaged',
        'the passphrase of the key',
      );
    }
  }
  if (/unsupported openssh private key type|unsupported private key ec oid/i.test(reason)) {
    return new ConfigError(
      KEY_INPUT,
      '`ssh-key` has an unsupported type',
      'an Ed25519, ECDSA or RSA key: `ssh-keygen -t ed25519 -f KEYFILE` creates one',
    );
  }
  return new ConfigError(
    KEY_INPUT,
    '`ssh-key` is damaged: part of it is missing or changed',
    WHOLE_FILE,
  );
}

function isEncrypted(key: string): boolean {
  if (/^(Proc-Type: 4,ENCRYPTED|Encryption: (?!none))/m.test(key)) return true;
  const body = /^-----BEGIN OPENSSH PRIVATE KEY-----\n([\s\S]*)\n-----END/.exec(key)?.[1];
  if (body === undefined) return false;
  // "openssh-key-v1\0", then the cipher's name as a length-prefixed string.
  const data = Buffer.from(body, 'base64');
  if (data.length < 23) return false;
  return data.toString('latin1', 19, 19 + Math.min(data.readUInt32BE(15), 64)) !== 'none';
}
