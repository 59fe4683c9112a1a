import type { Machine, User } from '../../../sandbox/machine.ts';

export type Inputs = Readonly<Record<string, string>>;

/** What the task list asks of its worker: one child, with limits. */
export const taskListLimits: Inputs = {
  concurrency: '1',
  'memory-max': '800M',
  'memory-high': '600M',
};

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
