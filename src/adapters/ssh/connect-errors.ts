import type { AuthenticationType } from 'ssh2';
import { HostError } from '../../model/errors.ts';
import { formatCount } from '../../model/quantities.ts';
import type { Seconds } from '../../model/units.ts';
import { lastLines } from '../last-lines.ts';
import { describeKey } from './host-key.ts';
import type { HostKeyVerdict, HostPins } from './known-hosts.ts';
import type { Login } from './login.ts';
import { address, type SshTarget } from './ssh-target.ts';

const CONNECT_STEP = 'connect over SSH';

/** What the server said about the login. */
export interface LoginReplies {
  /** The methods that the server would have accepted instead of the key. */
  methodsLeft: readonly AuthenticationType[];
  /** It accepted the key, and requires a second factor. */
  partial: boolean;
  /** The banner: why an account is locked, or just a greeting. */
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
      return 'no route to host';
    case 'ENOTFOUND':
      return 'its name does not resolve';
    case 'EAI_AGAIN':
      return 'its name does not resolve at the moment';
  }
  if (/^Timed out while waiting for handshake$/.test(error.message)) {
    return connectTimeout === null ? 'no answer' : `no answer within ${connectTimeout} s`;
  }
  if (/^(Connection lost before handshake|No response from server)$/.test(error.message)) {
    return 'the server closed the connection';
  }
  if (code === 'ETIMEDOUT') return 'no answer';
  if (/^Invalid (identification string|header)/.test(error.message)) {
    return 'the server does not speak SSH';
  }
  return error.message === '' ? String(code ?? error.name) : error.message;
}

export function unreachable(
  target: SshTarget,
  attempts: number,
  cause: string,
  error: Error,
): HostError {
  const times = formatCount(attempts, 'attempt');
  return new HostError(
    `cannot reach ${address(target)}: ${cause} (${times})`,
    {
      step: CONNECT_STEP,
      evidence: [],
      next: 'check the inputs `host` and `port`, that the server is up, and that its firewall admits this runner',
    },
    { cause: error },
  );
}

export function forwardingRefused(jump: SshTarget, target: SshTarget): HostError {
  return new HostError(`${address(jump)} refused to forward the connection to ${address(target)}`, {
    step: CONNECT_STEP,
    evidence: [],
    next: `allow it in sshd_config of the host of \`proxy-jump\`: \`AllowTcpForwarding local\` and \`PermitOpen ${address(target)}\` for ${jump.user}, and no \`restrict\` or \`no-port-forwarding\` before its key`,
  });
}

export function wrongHostKey(
  target: SshTarget,
  pins: HostPins,
  verdict: Exclude<HostKeyVerdict, { kind: 'accepted' }>,
): HostError {
  const got = describeKey(verdict.got);
  if (verdict.kind === 'revoked') {
    return new HostError(`${address(target)} has the host key ${got}, which is revoked`, {
      step: CONNECT_STEP,
      evidence: [`known-hosts line ${verdict.line}: @revoked`],
      next: 'do not trust this server until you know why; then give it a new host key, and pin that in `known-hosts`',
    });
  }
  const expected = pins.expected.map(describeKey);
  return new HostError(
    `the host key of ${address(target)} is not the one in \`known-hosts\`: expected ${expected.join(' or ')}, got ${got}. Nothing was sent to the server.`,
    {
      step: CONNECT_STEP,
      evidence: [...expected.map((line) => `expected: ${line}`), `got:      ${got}`],
      next: 'if the server was reinstalled, compare the key on its console (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`) and update `known-hosts`; if it was not, this may be a man-in-the-middle attack: find out before you continue',
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
    `${address(target)} has no host key of the type in \`known-hosts\`: expected ${expected.join(' or ')}, got ${came}. Nothing was sent to the server.`,
    {
      step: CONNECT_STEP,
      evidence: [...expected.map((line) => `expected: ${line}`), `offered:  ${offered ?? 'none'}`],
      next: `if its keys were changed on purpose, compare the output of \`ssh-keyscan -p ${target.port} ${target.host}\` with the console of the server and update \`known-hosts\``,
    },
  );
}

export function noSharedAlgorithm(
  target: SshTarget,
  mismatch: {
    readonly what: string;
    readonly setting: string;
    readonly expected: readonly string[];
    readonly offered: string;
  },
): HostError {
  const { what, setting, expected, offered } = mismatch;
  return new HostError(
    `${address(target)} offers no ${what} that is accepted: expected one of ${expected.join(', ')}, got only ${offered}. Nothing was sent to the server.`,
    {
      step: CONNECT_STEP,
      evidence: [`expected: ${expected.join(', ')}`, `offered:  ${offered}`],
      next: `allow one of the expected algorithms in \`${setting}\` of sshd_config (by default, OpenSSH does), or update OpenSSH; then \`systemctl reload ssh\``,
    },
  );
}

/** SHA-1 can be forged. */
export function onlySha1(target: SshTarget, login: Login): HostError {
  return new HostError(
    `${address(target)} accepts signatures of RSA keys with SHA-1 (ssh-rsa) only: expected rsa-sha2-256 or rsa-sha2-512. Nobody was logged in.`,
    {
      step: CONNECT_STEP,
      evidence: [`key: ${login.keys.join(' or ')}`],
      next: 'log in with an Ed25519 key (`ssh-keygen -t ed25519 -f KEYFILE`), or update OpenSSH on the server to 7.2 or newer',
    },
  );
}

export function refusedLogin(target: SshTarget, login: Login, seen: LoginReplies): HostError {
  const keyText = login.keys.join(' or ');
  const methods = seen.methodsLeft.join(', ');
  if (seen.partial) {
    return new HostError(
      `${address(target)} accepted the key of ${target.user} but requires a second factor: ${methods}`,
      {
        step: CONNECT_STEP,
        evidence: [`key: ${keyText}`],
        next: `make the key sufficient: set \`AuthenticationMethods publickey\` for ${target.user} in sshd_config`,
      },
    );
  }
  const noKeys = methods !== '' && !seen.methodsLeft.includes('publickey');
  return new HostError(
    `${address(target)} refused the login of ${target.user} with the key ${keyText}. It was not retried.`,
    {
      step: CONNECT_STEP,
      evidence: [
        ...(methods === '' ? [] : [`the server accepts: ${methods}`]),
        ...lastLines(seen.banner, 5),
      ],
      next: noKeys
        ? `allow public keys for ${target.user} on the server (\`PubkeyAuthentication yes\` in sshd_config)`
        : `add this line to ~${target.user}/.ssh/authorized_keys on the server: \`${login.authorizedLine}\`; if it is there already, check the input \`user\`, the owner and mode of that file (600), and \`AllowUsers\` and \`PermitRootLogin\` in sshd_config`,
    },
  );
}

export function brokenLogin(
  target: SshTarget,
  login: Login,
  seen: LoginReplies,
  cause: string,
  error: Error,
): HostError {
  return new HostError(
    `${address(target)} closed the connection while ${target.user} was logging in: ${cause}. It was not retried.`,
    {
      step: CONNECT_STEP,
      evidence: [`key: ${login.keys.join(' or ')}`, ...lastLines(seen.banner, 5)],
      next: `read the server's log (\`journalctl -t sshd\`): the account may be locked or expired (\`chage -l ${target.user}\`), or there were too many logins`,
    },
    { cause: error },
  );
}
