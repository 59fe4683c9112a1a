import { ConfigError } from '../model/errors.ts';
import type { Policy } from './policy.ts';
import { parsePublicKeys } from './public-keys.ts';

export type SshSigner = NonNullable<NonNullable<Policy['signers']>['ssh']>[number];

/**
 * Reads a file in the format of `allowed_signers` (ssh-keygen(1)): principals, options, type, key.
 *
 * @param where names the file in errors
 * @throws ConfigError with the line
 */
export function parseAllowedSigners(text: string, where: string): readonly SshSigner[] {
  const signers = text.split(/\r?\n/).flatMap((line, index) => {
    const words = line.trim();
    return words === '' || words.startsWith('#') ? [] : [parseLine(words, `${where}:${index + 1}`)];
  });
  if (signers.length === 0) {
    throw new ConfigError(
      where,
      'there is no signer',
      'lines such as `alice@example.com ssh-ed25519 AAAA…`',
    );
  }
  return signers;
}

function parseLine(line: string, where: string): SshSigner {
  const at = line.search(/(?:ssh-|ecdsa-sha2-|sk-)\S+\s+AAAA/);
  const [name = '', ...options] = line.slice(0, Math.max(at, 0)).trim().split(/\s+/);
  const limits = options.filter((option) => !/^namespaces="?git"?$/.test(option));
  if (at < 0 || !/^[^\s"*?!,]{1,200}$/.test(name) || limits.length > 0) {
    const problem =
      limits.length > 0
        ? `the option ${limits[0]} is not supported`
        : 'not a line of an allowed_signers file with one principal';
    throw new ConfigError(where, problem, 'such as `alice@example.com ssh-ed25519 AAAA…`');
  }
  const [key] = parsePublicKeys(line.slice(at), where);
  return { name, key: `${key?.type} ${key?.base64}` };
}
