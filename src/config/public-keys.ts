import { ConfigError } from '../model/errors.ts';

/** A public key as in authorized_keys, without options. */
export interface PublicKey {
  readonly type: string;
  readonly base64: string;
  readonly comment: string;
}

/** Types that a runner can log in with; a security key would have to be touched there. */
const types = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'ssh-rsa',
];
const expected = `public keys, one per line: ${types[0]} AAAA… comment`;

/**
 * Reads a file of public keys, such as `~/.ssh/id_ed25519.pub`.
 *
 * @param where names the file in errors
 * @throws ConfigError with the line; a private key is not repeated
 */
export function parsePublicKeys(text: string, where: string): readonly PublicKey[] {
  if (/-----BEGIN|^PuTTY-User-Key-File/m.test(text)) {
    throw new ConfigError(where, 'this is a private key', 'the public half: the file with `.pub`');
  }
  const keys = text.split(/\r?\n/).flatMap((line, index) => {
    const words = line.trim();
    return words === '' || words.startsWith('#') ? [] : [parseLine(words, `${where}:${index + 1}`)];
  });
  if (keys.length === 0) throw new ConfigError(where, 'there is no key', expected);
  return keys;
}

function parseLine(line: string, where: string): PublicKey {
  const [type = '', base64 = '', ...comment] = line.split(/\s+/);
  if (type.startsWith('sk-')) {
    const problem =
      'a security key (`sk-`) must be touched at each login, which a runner cannot do';
    throw new ConfigError(where, problem, expected);
  }
  if (!types.includes(type)) {
    throw new ConfigError(where, 'not a public key of a supported type', expected);
  }
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64) || typeIn(base64) !== type) {
    throw new ConfigError(where, `the key is damaged: it does not contain ${type}`, expected);
  }
  // A comment is for people; what could end the line or confuse a reader goes.
  return {
    type,
    base64,
    comment: comment
      .join(' ')
      .replace(/[^\x20-\x7e]/g, '')
      .slice(0, 200),
  };
}

/** The type inside of a key: its first field. */
function typeIn(base64: string): string {
  const data = Buffer.from(base64, 'base64');
  const length = data.length < 4 ? 0 : data.readUInt32BE(0);
  return length > data.length - 5 ? '' : data.toString('latin1', 4, 4 + length);
}

export const renderPublicKey = ({ type, base64, comment }: PublicKey): string =>
  [type, base64, comment].filter((part) => part !== '').join(' ');
