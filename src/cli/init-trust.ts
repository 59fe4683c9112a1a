import { existsSync } from 'node:fs';
import { pinnedKeys } from '../adapters/ssh/known-hosts.ts';
import { hostKeyTypes, type PresentedKey, readHostKey } from '../adapters/ssh/read-host-key.ts';
import type { SshTarget } from '../adapters/ssh/ssh-target.ts';
import { ConfigError } from '../model/errors.ts';
import type { Seconds } from '../model/units.ts';
import { loginOf } from './connection.ts';
import { type GivenFlags, refuseFlag } from './flags.ts';
import type { Ask, Terminal } from './terminal.ts';

/** What identifies a host from now on. */
export interface Trust {
  /** For known_hosts: the keys that the pipeline will accept. */
  readonly lines: string;
  /** `null`: the lines are those of a person's own file. */
  readonly key: PresentedKey | null;
}

interface Subject extends Pick<SshTarget, 'host' | 'port'> {
  readonly timeout: Seconds;
  readonly isJump: boolean;
}

const shape = /^SHA256:[A-Za-z0-9+/]{43}$/;

/**
 * The host key to trust: the one in known_hosts, the one with the given fingerprint, or one that a
 * person has compared. Nothing is ever trusted unseen.
 *
 * @param ask `null`: nobody can be asked
 * @throws ConfigError when nothing identifies the host; HostError when it cannot be reached
 */
export async function trustHost(
  subject: Subject,
  flags: GivenFlags,
  terminal: Pick<Terminal, 'note'>,
  ask: Ask | null,
): Promise<Trust> {
  const wanted = flags.get('fingerprint')?.replace(/=+$/, '');
  if (wanted !== undefined && !shape.test(wanted)) {
    refuseFlag(
      'fingerprint',
      'not a fingerprint',
      '`SHA256:` and 43 letters, as `ssh-keygen -lf` prints it',
    );
  }
  const known = ownLines(flags);
  if (known !== null) return await fromOwnFile(subject, known, wanted);
  if (subject.isJump) {
    const expected = 'its line and that of the host in between: log in once with `ssh -J`';
    refuseFlag('known-hosts-file', `known_hosts does not name ${subject.host}`, expected);
  }
  if (wanted !== undefined) return await byFingerprint(subject, wanted);
  if (ask === null) {
    refuseFlag(
      'fingerprint',
      `the host key of ${subject.host} is unknown, and nobody can be asked`,
      `\`--fingerprint SHA256:…\`, as \`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub\` prints it on the server's console; or its line in known_hosts`,
    );
  }
  return await byComparing(subject, terminal, ask);
}

/** The lines of a person's own file; `null`: it does not name the host. */
function ownLines(flags: GivenFlags): string | null {
  const path = flags.get('known-hosts-file');
  if (path !== undefined && !existsSync(path)) {
    refuseFlag('known-hosts-file', `cannot read ${path}`, 'the path of an existing file');
  }
  try {
    return loginOf(flags).knownHosts();
  } catch (error) {
    if (error instanceof ConfigError) return null;
    throw error;
  }
}

/** Of the keys in the file, the one that the server presents; the login itself checks it again. */
async function fromOwnFile(
  subject: Subject,
  known: string,
  wanted: string | undefined,
): Promise<Trust> {
  const pins = pinnedKeys(known, subject.host, subject.port);
  const lines = known.split('\n').filter((line) => line.trim() !== '');
  if (wanted !== undefined && !pins.expected.some((key) => key.fingerprint === wanted)) {
    const [first] = pins.expected;
    refuseFlag(
      'fingerprint',
      `known_hosts has another key for ${subject.host}: ${first?.fingerprint}`,
      'the fingerprint of that key, or no `--fingerprint`',
    );
  }
  const types = hostKeyTypes.filter((type) => pins.expected.some((key) => key.type === type));
  const key = subject.isJump ? null : await readHostKey(subject, types, subject.timeout);
  // A key that is not accepted is refused by the login, with its reasons.
  if (key === null || pins.verify(key.key).kind !== 'accepted') {
    return { lines: lines.join('\n'), key: null };
  }
  return { lines: key.line, key };
}

async function byFingerprint(subject: Subject, wanted: string): Promise<Trust> {
  const seen: PresentedKey[] = [];
  for (const type of hostKeyTypes) {
    const key = await readHostKey(subject, [type], subject.timeout);
    if (key?.fingerprint === wanted) return { lines: key.line, key };
    if (key !== null) seen.push(key);
  }
  const keys = seen.map((key) => `${key.fingerprint} (${key.type})`).join(', ');
  throw new ConfigError(
    '--fingerprint',
    `${subject.host} has no host key with this fingerprint, but ${keys}`,
    'what `ssh-keygen -lf` prints on the server itself; if that is the one above, somebody is between you and the server',
  );
}

async function byComparing(
  subject: Subject,
  { note }: Pick<Terminal, 'note'>,
  ask: Ask,
): Promise<Trust> {
  const key = await readHostKey(subject, hostKeyTypes, subject.timeout);
  if (key === null) {
    throw new ConfigError(
      '--host',
      `${subject.host} has no host key of a supported type`,
      hostKeyTypes.join(', '),
    );
  }
  note(`${subject.host} is not in known_hosts. Its host key:`);
  note(`  ${key.fingerprint} (${key.type})`);
  note(`On the server's own console, \`${howToPrint(key.type)}\` must print the same.`);
  const answer = (await ask('Is it the same? (yes, no, or the fingerprint) ')).trim();
  if (answer === 'yes' || answer.replace(/=+$/, '') === key.fingerprint) {
    return { lines: key.line, key };
  }
  throw new ConfigError('--host', 'the host key was not confirmed, so nothing was sent', 'yes');
}

/** The command that prints the fingerprint on the server itself. */
export const howToPrint = (type: string): string =>
  `ssh-keygen -lf /etc/ssh/ssh_host_${type.replace(/^ssh-/, '').replace(/-sha2-.*$/, '')}_key.pub`;
