import { quote } from '../../report/shell-commands.ts';
import type { Reach } from './fleet-text.ts';

/**
 * How `ssh` and `ssh-copy-id` reach the host: the name behind an alias may be another machine's in
 * another network, so the host in between belongs to it.
 */
export function sshWords({ host, port, user, jump }: Reach): string {
  // Without a user, ssh would take the local one; Celeriac takes that of the host.
  const via = jump.includes('@') ? jump : `${user}@${jump}`;
  return [
    ...(port === 22 ? [] : [`-p ${port}`]),
    ...(jump === '' ? [] : [`-o ${quote(`ProxyJump=${via}`)}`]),
    `${user}@${host}`,
  ].join(' ');
}

/** How `celeriac` reaches it. */
export const celeriacWords = ({ host, port, user, jump }: Reach): string =>
  [
    `--host ${host}`,
    ...(port === 22 ? [] : [`--port ${port}`]),
    ...(user === 'root' ? [] : [`--user ${user}`]),
    ...(jump === '' ? [] : [`--proxy-jump ${quote(jump)}`]),
  ].join(' ');
