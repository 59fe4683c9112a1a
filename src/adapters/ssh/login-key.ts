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

const OPENSSH_OF_PUTTY =
  'the OpenSSH format: `puttygen KEY.ppk -O private-openssh -o KEY` converts it, or Conversions > Export OpenSSH key in PuTTYgen';

/**
 * Parses the key before anything connects. Accepts Windows line ends, indentation, space at the ends
 * of lines, and public keys around it. Neither the key nor the
 * message of the parser, which may quote it, appears in an error.
 *
 * @throws ConfigError naming `ssh-key` or `ssh-key-passphrase`.
 */
export function parseLoginKey(text: string, passphrase?: string): LoginKey {
  refuseCertificate(text);
  const key = tidy(text);
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

/** The private key alone; as it is, if there is none or more than one. */
function tidy(text: string): string {
  const whole = withLineBreaks(text.replace(/\r\n?/g, '\n').trim());
  // A comment in PuTTY's format may end with a space, and counts.
  if (whole.startsWith(PUTTY)) return whole;
  const lines = whole.split('\n').map((line) => line.trim());
  const key = lines.join('\n').trim();
  const blocks = key.match(
    /^-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----\n[\s\S]*?^-----END \1PRIVATE KEY-----$/gm,
  );
  return blocks?.length === 1 ? (blocks[0] ?? key) : key;
}

/** A key whose line breaks became `\\n` or spaces, or are gone: they mean nothing inside base64. */
function withLineBreaks(text: string): string {
  const broken = text.includes('\n') ? text : text.replaceAll(/(?:\\r)?\\n/g, '\n');
  if (broken.includes('\n')) return broken.trim();
  return broken.replace(
    /^(-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----)([A-Za-z0-9+/=\s]+)(-----END \2PRIVATE KEY-----)/,
    (_, begin: string, _label, body: string, end: string) => {
      const lines = body.replaceAll(/\s/g, '').match(/.{1,70}/g) ?? [];
      return [begin, ...lines, end].join('\n');
    },
  );
}

const PUTTY = 'PuTTY-User-Key-File-';

/** ssh2 names the type of the certificate where the type of its signature belongs. */
function refuseCertificate(text: string): void {
  if (!/(?:^|\s)(?:ssh-|ecdsa-sha2-|sk-)\S+-cert-v01@openssh\.com\s+AAAA/.test(text)) return;
  throw new ConfigError(
    KEY_INPUT,
    '`ssh-key` contains an OpenSSH certificate, and logins with certificates are not supported',
    'the private key alone, with its public half in authorized_keys on the server',
  );
}

function checkShape(key: string): void {
  const fail = (problem: string, expected = WHOLE_FILE): never => {
    throw new ConfigError(KEY_INPUT, problem, expected);
  };
  if (key === '') fail('`ssh-key` is empty');
  const count = key.match(/^-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----$/gm)?.length ?? 0;
  if (count > 1) {
    fail(`\`ssh-key\` contains ${count} private keys`, 'one private key');
  }
  if (
    /^(ssh-|ecdsa-sha2-|sk-)\S+ +AAAA/.test(key) ||
    /^-{4,5} ?BEGIN (SSH2 |RSA )?PUBLIC KEY/.test(key)
  ) {
    fail('`ssh-key` is the public half of a key', 'the private half: the file without `.pub`');
  }
  if (key.startsWith(PUTTY)) {
    if (!key.startsWith(`${PUTTY}2:`)) {
      const version = /^\d+/.exec(key.slice(PUTTY.length))?.[0] ?? 'unknown';
      fail(
        `\`ssh-key\` is in PuTTY's format, version ${version}, which is not supported`,
        OPENSSH_OF_PUTTY,
      );
    }
    return;
  }
  if (/^["']/.test(key)) fail('`ssh-key` is in quotes', `${WHOLE_FILE}, without quotes`);
  if (key.startsWith('LS0tLS1CRUdJTi')) {
    fail('`ssh-key` is encoded with base64', `${WHOLE_FILE}: decode it with \`base64 -d\``);
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

/** The type of the public half stands in the file without encryption. */
const isHardwareKey = (key: string): boolean =>
  /sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com/.test(
    Buffer.from(key.replaceAll(/-----.*-----|\s/g, ''), 'base64').toString('latin1'),
  );

function explainParse(key: string, passphrase: string | undefined, reason: string): ConfigError {
  if (key.startsWith(PUTTY) && !isEncryptedKey(key)) {
    return new ConfigError(
      KEY_INPUT,
      "`ssh-key` is in PuTTY's format, and is damaged or has an unsupported type",
      OPENSSH_OF_PUTTY,
    );
  }
  if (isEncryptedKey(key) && !isHardwareKey(key)) {
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
  if (isHardwareKey(key)) {
    return new ConfigError(
      KEY_INPUT,
      '`ssh-key` belongs to a hardware key (ed25519-sk or ecdsa-sk), which somebody has to touch for each login',
      'a key for this purpose alone: `ssh-keygen -t ed25519 -f KEYFILE` creates one',
    );
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

/** Whether this private key can only be used with a passphrase. */
export function isEncryptedKey(key: string): boolean {
  if (/^(Proc-Type: 4,ENCRYPTED|Encryption: (?!none))/m.test(key)) return true;
  const body = /^-----BEGIN OPENSSH PRIVATE KEY-----\n([\s\S]*)\n-----END/.exec(key)?.[1];
  if (body === undefined) return false;
  // "openssh-key-v1\0", then the cipher's name as a length-prefixed string.
  const data = Buffer.from(body, 'base64');
  if (data.length < 23) return false;
  return data.toString('latin1', 19, 19 + Math.min(data.readUInt32BE(15), 64)) !== 'none';
}
