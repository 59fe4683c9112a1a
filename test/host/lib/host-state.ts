import type { Machine } from '../../../sandbox/machine.ts';
import { type Fingerprint, takeFingerprint } from '../../lib/fingerprint.ts';

/**
 * Every process of the host that is there to stay, by pid and start: not the kernel's, not what
 * logins bring, not udev's helpers.
 */
const PROCESSES = `
import json, os

seen = {}
for pid in filter(str.isdigit, os.listdir('/proc')):
    try:
        with open('/proc/%s/stat' % pid) as file:
            name, rest = file.read().split('(', 1)[1].rsplit(')', 1)
        with open('/proc/%s/cmdline' % pid) as file:
            words = file.read().split('\\0')
        with open('/proc/%s/cgroup' % pid) as file:
            group = file.read().strip().split('::', 1)[1]
    except OSError:
        continue
    fields = rest.split()
    seen[int(pid)] = (name, int(fields[1]), fields[19], ' '.join(words).strip(), group)

def passes(pid):
    if pid == 2 or '/user@' in seen[pid][4] or seen[pid][0] == '(udev-worker)':
        return False
    while pid in seen:
        if pid == 2 or (seen[pid][0] == 'sshd' and seen[pid][1] != 1):
            return False
        pid = seen[pid][1]
    return True

print(json.dumps([
    {'pid': pid, 'parent': each[1], 'started': each[2], 'command': each[3], 'group': each[4]}
    for pid, each in sorted(seen.items()) if passes(pid)
]))
`;

export interface HostProcess {
  readonly pid: number;
  readonly parent: number;
  /** Field 22 of its stat: with the pid it names one process. */
  readonly started: string;
  readonly command: string;
  /** Its cgroup. */
  readonly group: string;
}

export async function listProcesses(machine: Machine): Promise<readonly HostProcess[]> {
  const { stdout } = await machine.run('python3 -I -S -', { input: PROCESSES });
  return JSON.parse(stdout) as HostProcess[];
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
