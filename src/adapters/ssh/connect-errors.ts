import type { AuthenticationType } from 'ssh2';
import { HostError } from '../../model/errors.ts';
import type { Seconds } from '../../model/units.ts';
import { lastLines } from '../last-lines.ts';
import { describeKey } from './host-key.ts';
import type { HostKeyVerdict, HostPins } from './known-hosts.ts';
import type { LoginKey } from './login-key.ts';
import { address, type SshTarget } from './ssh-target.ts';

const CONNECT_STEP = 'connect over SSH';

/** What the server said about the login. */
export interface LoginReplies {
  /** What the server would have taken instead of the key. */
  methodsLeft: readonly AuthenticationType[];
  /** It accepted the key, and asks for a second proof. */
  partial: boolean;
  /** What the server said before the login was over: why an account is shut, or just a greeting. */
  banner: string;
}

export function property(error: Error, name: 'code' | 'level'): unknown {
  return name in error ? Reflect.get(error, name) : undefined;
}

export function describeCause(error: Error, connectTimeout: Seconds | null): string {
  const code = property(error, 'code');
  switch (code) {
    case 'ECONNREFUSED':
      return 'the connection was refused';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'the connection was reset';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return 'there is no route to it';
    case 'ENOTFOUND':
      return 'its name does not resolve';
    case 'EAI_AGAIN':
      return 'its name could not be resolved for the time being';
  }
  if (/^Timed out while waiting for handshake$/.test(error.message)) {
    return connectTimeout === null ? 'no answer' : `no answer within ${connectTimeout} s`;
  }
  if (/^(Connection lost before handshake|No response from server)$/.test(error.message)) {
    return 'the server closed the connection';
  }
  if (code === 'ETIMEDOUT') return 'no answer';
  if (/^Invalid (identification string|header)/.test(error.message)) {
    return 'what answers there does not speak SSH';
  }
  return error.message === '' ? String(code ?? error.name) : error.message;
}

export function unreachable(
  target: SshTarget,
  attempts: number,
  cause: string,
  error: Error,
): HostError {
  const times = attempts === 1 ? '1 attempt' : `${attempts} attempts`;
  return new HostError(
    `${address(target)} cannot be reached: ${cause} (${times}).`,
    {
      step: CONNECT_STEP,
      evidence: [],
      next: 'Check the inputs `host` and `port`, that the server is up, and that its firewall lets this runner in.',
    },
    { cause: error },
  );
}

export function wrongHostKey(
  target: SshTarget,
  pins: HostPins,
  verdict: Exclude<HostKeyVerdict, { kind: 'accepted' }>,
): HostError {
  const got = describeKey(verdict.got);
  if (verdict.kind === 'revoked') {
    return new HostError(`${address(target)} shows the host key ${got}, which is revoked.`, {
      step: CONNECT_STEP,
      evidence: [`known-hosts line ${verdict.line}: @revoked`],
      next: 'Do not trust this server until you know why. Give it a new host key, and put that into `known-hosts`.',
    });
  }
  const expected = pins.expected.map(describeKey);
  return new HostError(
    `The host key of ${address(target)} is not the one in \`known-hosts\`: expected ${expected.join(' or ')}, got ${got}. Nothing was sent to it.`,
    {
      step: CONNECT_STEP,
      evidence: [...expected.map((line) => `expected: ${line}`), `got:      ${got}`],
      next: 'If the server was reinstalled, compare the key on its console (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`) and mend `known-hosts`. If it was not, someone may stand between: find out before you go on.',
    },
  );
}

export function noPinnedKeyOffered(
  target: SshTarget,
  pins: HostPins,
  offered: string | null,
): HostError {
  const expected = pins.expected.map(describeKey);
  const came = offered === null ? 'none of them' : `only ${offered.replaceAll(',', ', ')}`;
  return new HostError(
    `${address(target)} has no host key of the type in \`known-hosts\`: expected ${expected.join(' or ')}, it offers ${came}. Nothing was sent to it.`,
    {
      step: CONNECT_STEP,
      evidence: [...expected.map((line) => `expected: ${line}`), `offered:  ${offered ?? 'none'}`],
      next: `If the server's keys were changed on purpose, compare \`ssh-keyscan -p ${target.port} ${target.host}\` with its console and mend \`known-hosts\`.`,
    },
  );
}

export function refusedLogin(target: SshTarget, key: LoginKey, seen: LoginReplies): HostError {
  const keyText = `${key.fingerprint} (${key.type})`;
  const methods = seen.methodsLeft.join(', ');
  if (seen.partial) {
    return new HostError(
      `${address(target)} took the key of ${target.user} but asks for a second proof: ${methods}.`,
      {
        step: CONNECT_STEP,
        evidence: [`key: ${keyText}`],
        next: `Expected: the key alone is enough. Set \`AuthenticationMethods publickey\` for ${target.user} in sshd_config.`,
      },
    );
  }
  const noKeys = methods !== '' && !seen.methodsLeft.includes('publickey');
  return new HostError(
    `${address(target)} refused the login of ${target.user} with the key ${keyText}. It was tried once, and is not tried again.`,
    {
      step: CONNECT_STEP,
      evidence: [
        ...(methods === '' ? [] : [`the server accepts: ${methods}`]),
        ...lastLines(seen.banner, 5),
      ],
      next: noKeys
        ? `Allow keys for ${target.user} on the server (\`PubkeyAuthentication yes\` in sshd_config).`
        : `Put this line into ~${target.user}/.ssh/authorized_keys on the server: \`${key.authorizedLine}\`. If it is there, check the input \`user\`, the owner and mode of that file (600), and \`AllowUsers\` and \`PermitRootLogin\` in sshd_config.`,
    },
  );
}

export function brokenLogin(
  target: SshTarget,
  key: LoginKey,
  seen: LoginReplies,
  cause: string,
  error: Error,
): HostError {
  return new HostError(
    `${address(target)} ended the connection while ${target.user} was logging in: ${cause}. It is not tried again.`,
    {
      step: CONNECT_STEP,
      evidence: [`key: ${key.fingerprint} (${key.type})`, ...lastLines(seen.banner, 5)],
      next: `Read the server's log (\`journalctl -t sshd\`): the account may have expired (\`chage -l ${target.user}\`) or be locked, or there were too many logins.`,
    },
    { cause: error },
  );
}
