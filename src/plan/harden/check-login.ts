import { ConfigError } from '../../model/errors.ts';
import type { HardeningFact } from '../../model/hardening.ts';
import type { Finding } from '../../model/operation.ts';
import { homeOf } from './places.ts';

/**
 * Whether a user can be the one that keys log in as, and whether sshd will let it in.
 *
 * @throws ConfigError when not
 */
export function checkLogin(fact: HardeningFact, user: string, findings: Finding[]): void {
  checkAccount(fact, user, findings);
  const settings = fact.sshd[user] ?? null;
  if (settings === null) {
    const message = `the settings of sshd are unknown: check whether it lets ${user} in with a key of ~/.ssh/authorized_keys`;
    findings.push({ level: 'notice', message });
    return;
  }
  checkSshd(settings, user, findings);
}

function checkAccount({ accounts }: HardeningFact, user: string, findings: Finding[]): void {
  const account = accounts[user] ?? null;
  if (account === null) return;
  if (!account.ours) {
    throw new ConfigError(
      'input deploy-user',
      `the user ${user} exists, but Celeriac did not create it: it may have a password, other keys or other rights`,
      'a name that is not in use: Celeriac creates a user for the key alone',
    );
  }
  if (account.home !== homeOf(user)) {
    throw new ConfigError(
      'input deploy-user',
      `the home of ${user} is ${account.home}`,
      `${homeOf(user)}, as it was made: \`usermod --home ${homeOf(user)} ${user}\``,
    );
  }
  if (account.groups.length > 0) {
    const message = `${user} is a member of ${account.groups.join(', ')}, to which Celeriac did not add it: what the agent runs as root is not affected, but the account has these rights`;
    findings.push({ level: 'warning', message });
  }
}

type Settings = Readonly<Record<string, readonly string[]>>;

const keyFiles = ['.ssh/authorized_keys', '%h/.ssh/authorized_keys'];

function checkSshd(settings: Settings, user: string, findings: Finding[]): void {
  const refuse = (problem: string, expected: string): never => {
    throw new ConfigError('sshd_config of the host', problem, expected);
  };
  const values = (name: string): readonly string[] => settings[name] ?? [];
  if (values('pubkeyauthentication')[0] === 'no') {
    refuse(`sshd accepts no keys for ${user}`, '`PubkeyAuthentication yes`');
  }
  const places = values('authorizedkeysfile');
  if (places.length > 0 && !keyFiles.some((place) => places.includes(place))) {
    refuse(
      `sshd reads the keys of ${user} from ${places.join(', ')}`,
      '`AuthorizedKeysFile .ssh/authorized_keys`, at least for this user (`Match User`)',
    );
  }
  const forced = values('forcecommand').join(' ');
  if (forced !== '' && forced !== 'none') {
    refuse(
      `sshd runs \`${forced}\` for ${user}, whatever its key says`,
      'no `ForceCommand` for it',
    );
  }
  const allowed = values('allowusers');
  if (allowed.length > 0 && !allowed.some((pattern) => mayMean(pattern, user))) {
    refuse(`sshd only lets ${allowed.join(', ')} in`, `\`AllowUsers\` with ${user}`);
  }
  if (values('denyusers').some((pattern) => mayMean(pattern, user))) {
    refuse(`sshd keeps ${user} out (DenyUsers)`, `\`DenyUsers\` without ${user}`);
  }
  const groups = values('allowgroups');
  if (groups.length > 0 && !groups.some((pattern) => mayMean(pattern, user))) {
    refuse(
      `sshd only lets the groups ${groups.join(', ')} in`,
      `\`AllowGroups\` with ${user}, which is the group of that user`,
    );
  }
  const command = values('authorizedkeyscommand').join(' ');
  if (command !== '' && command !== 'none') {
    const message = `sshd also takes keys from \`${command}\`: a key of ${user} from there is not bound to the agent`;
    findings.push({ level: 'warning', message });
  }
}

/** Patterns of sshd: `*`, `?`, and a host after an `@`. */
function mayMean(pattern: string, user: string): boolean {
  const name = pattern.split('@')[0] ?? '';
  const escaped = name.replace(/[.+^${}()|[\]\\]/g, '\\$&');
  const expression = escaped.replaceAll('*', '.*').replaceAll('?', '.');
  return new RegExp(`^${expression}$`).test(user);
}
