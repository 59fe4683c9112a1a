import type { Machine } from '../../sandbox/machine.ts';

/** Python: `read_processes()` gives what `/proc` says of each process, by pid. */
export const READ_PROCESSES = `
def read_processes():
    import os
    found = {}
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open('/proc/%s/stat' % pid) as file:
                name, rest = file.read().split('(', 1)[1].rsplit(')', 1)
            with open('/proc/%s/cmdline' % pid) as file:
                words = file.read().split('\\0')
            with open('/proc/%s/cgroup' % pid) as file:
                group = file.read().strip().rsplit('::', 1)[1]
        except OSError:
            continue
        fields = rest.split()
        found[int(pid)] = {
            'pid': int(pid),
            'name': name,
            'parent': int(fields[1]),
            'started': fields[19],
            'words': words[:-1],
            'command': ' '.join(words).strip(),
            'group': group,
        }
    return found
`;

/** A process as `/proc` shows it. */
export interface HostProcess {
  readonly pid: number;
  readonly name: string;
  readonly parent: number;
  /** Field 22 of its stat: with the pid it names one process. */
  readonly started: string;
  readonly words: readonly string[];
  /** The words on one line. */
  readonly command: string;
  /** Its cgroup. */
  readonly group: string;
}

/** Every process of the host, the kernel's too. */
export async function readProcesses(machine: Machine): Promise<ReadonlyMap<number, HostProcess>> {
  const program = `${READ_PROCESSES}
import json
print(json.dumps(list(read_processes().values())))
`;
  const { stdout } = await machine.run('python3 -I -S -', { input: program });
  const processes = JSON.parse(stdout) as HostProcess[];
  return new Map(processes.map((each) => [each.pid, each]));
}
