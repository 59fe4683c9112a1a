import type { Machine, User } from '../../../sandbox/machine.ts';

export type Inputs = Readonly<Record<string, string>>;

/** What every action needs to get onto the machine, and more inputs beside it. */
export function inputsFor(machine: Machine, more: Inputs = {}, user: User = 'root'): Inputs {
  return {
    host: machine.host,
    port: String(machine.sshPort),
    user,
    'ssh-key': machine.key,
    'known-hosts': machine.knownHosts,
    ...more,
  };
}
