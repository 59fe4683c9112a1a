import type { Machine } from '../../../sandbox/machine.ts';
import { type Fingerprint, takeFingerprint } from '../../lib/fingerprint.ts';
import { type HostProcess, readProcesses } from '../../lib/processes.ts';

const KERNEL = 2;

/**
 * Every process of the host that is there to stay: not the kernel's, not what logins bring, not
 * udev's helpers, not the sampler of each minute.
 */
export async function listProcesses(machine: Machine): Promise<readonly HostProcess[]> {
  const all = await readProcesses(machine);
  const passes = (process: HostProcess | undefined): boolean =>
    process === undefined ||
    (process.pid !== KERNEL &&
      !(process.name === 'sshd' && process.parent !== 1) &&
      passes(all.get(process.parent)));
  return [...all.values()]
    .filter(
      ({ name, group }) =>
        !group.includes('/user@') &&
        !group.endsWith('/celeriac-sampler.service') &&
        name !== '(udev-worker)',
    )
    .filter(passes)
    .toSorted((one, other) => one.pid - other.pid);
}

/** Those of `some` that are not among `others`: ended, or begun. */
export function processesBeside(
  some: readonly HostProcess[],
  others: readonly HostProcess[],
): readonly HostProcess[] {
  const known = new Set(others.map(({ pid, started }) => `${pid} ${started}`));
  return some.filter(({ pid, started }) => !known.has(`${pid} ${started}`));
}

/** All that a run could change, processes of every kind included. */
export async function captureHost(machine: Machine): Promise<Fingerprint> {
  const taken = await takeFingerprint(machine);
  const processes = await listProcesses(machine);
  return {
    // Workers write to their own logs when they like.
    ...Object.fromEntries(
      Object.entries(taken).filter(([name]) => !/^\/tmp(?:$|\/celery-)/.test(name)),
    ),
    ...Object.fromEntries(
      processes.map(({ pid, started, command }) => [`process ${pid}`, `${command}, ${started}`]),
    ),
  };
}
