import ssh2, {
  type AnyAuthMethod,
  type ParsedKey,
  type SignCallback,
  type SigningRequestOptions,
} from 'ssh2';
import { ConfigError } from '../../model/errors.ts';
import { fingerprint } from './host-key.ts';
import { type LoginKey, parseLoginKey } from './login-key.ts';
import type { SshTarget } from './ssh-target.ts';

/** How to log in: with one key, or with those of an ssh-agent. */
export interface Login {
  /** `SHA256:… (ssh-ed25519)`; several for an agent. */
  readonly keys: readonly string[];
  /** The public half as a line of authorized_keys. */
  readonly authorizedLine: string;
  readonly method: (user: string) => AnyAuthMethod;
  /**
   * When it signs: `first`, with its first message; `informed`: with its first message after the server
   * has named its algorithms; `asked`: when the server says that the key would do.
   */
  readonly signs: 'first' | 'informed' | 'asked';
}

/** Logins with RSA keys are signed with SHA-2 only; a server that cannot verify that gets nothing. */
export const sha1Refusal = 'the server verifies RSA signatures with SHA-1 only';

/**
 * Prepares the login before anything connects.
 *
 * @param agentSocket of the ssh-agent (SSH_AUTH_SOCK), which is used without a key
 * @throws ConfigError for an unusable key, or no agent with keys
 */
export async function prepareLogin(target: SshTarget, agentSocket: string): Promise<Login> {
  if (target.key.trim() !== '') return loginByKey(parseLoginKey(target.key, target.passphrase));
  if (agentSocket === '') {
    throw new ConfigError(
      'input ssh-key',
      '`ssh-key` is empty, and there is no ssh-agent (SSH_AUTH_SOCK is not set)',
      'a private key from a secret, or an ssh-agent that holds one; a secret is empty if it does not exist in this repository or environment',
    );
  }
  const spare = target.keyWithoutAgent ?? '';
  try {
    return await loginByAgent(new ModernAgent(agentSocket));
  } catch (error) {
    // Many desktops run an agent that nobody has given a key.
    if (spare === '' || !(error instanceof ConfigError)) throw error;
    return loginByKey(parseLoginKey(spare, target.passphrase));
  }
}

function loginByKey(key: LoginKey): Login {
  return {
    keys: [`${key.fingerprint} (${key.type})`],
    authorizedLine: key.authorizedLine,
    method: (username) => ({ type: 'publickey', username, key: withoutSha1(key.parsed) }),
    // RSA keys sign with several hashes.
    signs: key.type === 'ssh-rsa' ? 'informed' : 'first',
  };
}

const withoutSha1 = (key: ParsedKey): ParsedKey =>
  Object.create(key, {
    sign: {
      value: (data: Buffer, hash?: string) =>
        key.type === 'ssh-rsa' && !isSha2(hash) ? new Error(sha1Refusal) : key.sign(data, hash),
    },
  });

const isSha2 = (hash: string | undefined): boolean => hash === 'sha256' || hash === 'sha512';

async function loginByAgent(agent: ModernAgent): Promise<Login> {
  const expected = 'an ssh-agent that holds an Ed25519, ECDSA or RSA key; or the input `ssh-key`';
  const keys = await new Promise<readonly ParsedKey[]>((resolve, reject) => {
    agent.getIdentities((error, found = []) => {
      if (error === undefined || error === null) resolve(found as ParsedKey[]);
      else {
        const problem = 'the ssh-agent of SSH_AUTH_SOCK cannot be reached';
        reject(new ConfigError('input ssh-key', problem, expected, { cause: error }));
      }
    });
  });
  const [first] = keys;
  if (first === undefined) {
    const problem =
      'the ssh-agent of SSH_AUTH_SOCK holds no key that can be used; certificates and hardware keys (sk) are not supported';
    throw new ConfigError('input ssh-key', problem, expected);
  }
  return {
    keys: keys.map((key) => `${fingerprint(key.getPublicSSH())} (${key.type})`),
    authorizedLine: `${first.type} ${first.getPublicSSH().toString('base64')}`,
    method: (username) => ({ type: 'agent', username, agent }),
    // It may ask its owner for each signature, and hold many keys.
    signs: 'asked',
  };
}

const usable = /^(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521))$/;

type Identities = Parameters<ssh2.OpenSSHAgent['getIdentities']>[0];

/** The person's agent; it signs only what the server may verify without SHA-1. */
class ModernAgent extends ssh2.OpenSSHAgent {
  override getIdentities(done: Identities): void {
    super.getIdentities((error, keys) => {
      done(
        error,
        keys?.filter((key) => usable.test((key as ParsedKey).type)),
      );
    });
  }

  override sign(
    key: Parameters<ssh2.OpenSSHAgent['sign']>[0],
    data: Buffer,
    options?: SigningRequestOptions | SignCallback,
    done?: SignCallback,
  ): boolean {
    const [given, then] = typeof options === 'function' ? [{}, options] : [options ?? {}, done];
    if ((key as ParsedKey).type !== 'ssh-rsa' || isSha2(given.hash)) {
      return super.sign(key, data, given, then);
    }
    then?.(new Error(sha1Refusal));
    return false;
  }
}
