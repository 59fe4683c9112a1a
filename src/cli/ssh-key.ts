import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { isEncryptedKey } from '../adapters/ssh/login-key.ts';
import { ConfigError } from '../model/errors.ts';
import { type GivenFlags, passphraseVariable } from './flags.ts';

/** The key of a person, and the agent that may hold more. */
export interface KeyChoice {
  /** Text of the private key; empty: the keys of the ssh-agent. */
  readonly key: string;
  /** Like `key`: used if the ssh-agent has no key that can be used. */
  readonly keyWithoutAgent: string;
  /** What people should know. */
  readonly notes: readonly string[];
}

/** A file of ssh's own configuration. */
export interface NamedFile {
  readonly path: string;
  readonly where: string;
}

/** Where to look for a key. */
export interface KeyPlaces {
  readonly agentSocket: string;
  /** `IdentityFile` of `~/.ssh/config`; `null`: it names none, and the usual files count. */
  readonly identityFiles: readonly NamedFile[] | null;
}

/**
 * The key to log in with: that of the flag, else that of `~/.ssh/config`, else an ssh-agent, else the
 * usual files.
 *
 * @throws ConfigError when a file cannot be read, or is encrypted and nothing can open it
 */
export function chooseKey(flags: GivenFlags, { agentSocket, identityFiles }: KeyPlaces): KeyChoice {
  const flag = flags.get('ssh-key-file');
  if (flag !== undefined) return alone(readKeyFile(flag, '--ssh-key-file'));
  const named = (identityFiles ?? []).filter(({ path }) => existsSync(path));
  const [first] = named;
  if (first !== undefined) {
    const notes =
      named.length === 1
        ? []
        : [`of ${named.length} IdentityFile of this host, only ${first.path} is used`];
    return { ...fromConfig(first, agentSocket), notes };
  }
  const missing = (identityFiles ?? []).map(
    ({ path, where }) => `${where}: ${path} does not exist, and is skipped, as ssh does`,
  );
  return { ...usual(agentSocket, identityFiles), notes: missing };
}

const alone = (key: string): KeyChoice => ({ key, keyWithoutAgent: '', notes: [] });

/** A key that cannot be opened here, and the public half of one, are the agent's. */
function fromConfig({ path, where }: NamedFile, agentSocket: string): KeyChoice {
  const text = readKeyFile(path, where);
  const isPublic = /^(?:ssh-|ecdsa-|sk-)\S+ AAAA/.test(text);
  if (!isPublic && !isLocked(text)) return alone(text);
  if (agentSocket !== '') return alone('');
  if (isPublic) {
    const problem = `${path} is the public half of a key, and there is no ssh-agent with the other half`;
    throw new ConfigError(where, problem, 'an ssh-agent that holds the key');
  }
  throw locked(path, where);
}

/** @param named none of them exists; an empty list: the configuration wants none */
function usual(agentSocket: string, named: readonly NamedFile[] | null): KeyChoice {
  const usualFiles = named?.length === 0 ? [] : standardKeys();
  const path = usualFiles.find((file) => existsSync(file));
  if (agentSocket !== '') {
    const spare = path === undefined ? '' : readKeyFile(path, '--ssh-key-file');
    return { ...alone(''), keyWithoutAgent: spare };
  }
  if (path === undefined) {
    const files = [...(named ?? []).map((file) => file.path), ...usualFiles];
    const none = files.length === 0 ? '' : `, and no file ${files.join(', ')}`;
    throw new ConfigError(
      '--ssh-key-file',
      `there is no key to log in with: no ssh-agent (SSH_AUTH_SOCK)${none}`,
      'a file with a private key, or an ssh-agent that holds one',
    );
  }
  const text = readKeyFile(path, '--ssh-key-file');
  if (isLocked(text)) throw locked(path, '--ssh-key-file');
  return alone(text);
}

const isLocked = (text: string): boolean =>
  isEncryptedKey(text.replaceAll('\r\n', '\n').trim()) &&
  (process.env[passphraseVariable] ?? '') === '';

const locked = (path: string, where: string): ConfigError =>
  new ConfigError(
    where,
    `${path} is encrypted, and there is no ssh-agent that holds it`,
    `an ssh-agent (\`eval "$(ssh-agent)"; ssh-add ${path}\`), or the passphrase in ${passphraseVariable}`,
  );

const standardKeys = (): readonly string[] =>
  ['id_ed25519', 'id_ecdsa', 'id_rsa'].map((file) => join(homedir(), '.ssh', file));

function readKeyFile(path: string, where: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const problem = `cannot read ${path}`;
    throw new ConfigError(where, problem, 'the path of an existing file', { cause });
  }
}
