import { setTimeout as pause } from 'node:timers/promises';
import type { Machine } from '../../sandbox/machine.ts';
import { inputsFor } from '../../test/host/lib/inputs.ts';
import { NUMBERED } from '../../test/host/lib/task-flow.ts';
import { shell, UNIT } from '../../test/host/lib/worker.ts';
import { runBundle } from '../../test/lib/bundle.ts';
import type { Pipeline } from './pipeline.ts';
import type { Draw, Fault } from './random.ts';

/** What a fault can act on. */
export interface Victim {
  readonly machine: Machine;
  readonly run: Pipeline;
  /** Starts a second run, with its own release. */
  readonly deployAgain: () => Pipeline;
  /** Resumes sending numbered tasks after a boot. */
  readonly feedAgain: () => Promise<void>;
}

/** The shortest and longest duration of these faults. */
const LASTS: Readonly<Partial<Record<Fault, readonly [number, number]>>> = {
  'link-cut': [2, 40],
  'disk-full': [1, 15],
  'redis-away': [1, 20],
};

function secondsOf({ fault, lasts }: Draw): number {
  const [shortest, longest] = LASTS[fault] ?? [0, 0];
  return shortest + lasts * (longest - shortest);
}

/** Prepares the host for a round with this fault. */
export async function brace(machine: Machine, fault: Fault): Promise<void> {
  if (fault !== 'disk-full') return;
  // Only the disk that Celeriac writes to fills up: the log of the tasks is elsewhere, and Redis must
  // not append, because it would refuse every task once it cannot.
  await shell(
    machine,
    `redis-cli config set appendonly no && redis-cli config set save '' && cp -a ${NUMBERED} /run/kept && mount -t tmpfs none ${NUMBERED} && cp -a /run/kept/. ${NUMBERED} && rm -r /run/kept`,
  );
}

export async function unbrace(machine: Machine, fault: Fault): Promise<void> {
  if (fault !== 'disk-full') return;
  await shell(
    machine,
    `cp -a ${NUMBERED} /run/kept && umount -l ${NUMBERED} && cp -a /run/kept/. ${NUMBERED} && rm -r /run/kept && redis-cli config set appendonly yes`,
  );
}

/** Causes the fault, waits until it is over, and returns what it hit. */
export async function strike(draw: Draw, victim: Victim): Promise<string> {
  const { machine, run } = victim;
  const seconds = secondsOf(draw);
  const lasting = `${seconds.toFixed(1)} s`;
  switch (draw.fault) {
    case 'runner-killed':
      run.kill();
      return 'SIGKILL';
    case 'agent-killed':
      return await kill(machine, 'agent');
    case 'work-killed':
      return await kill(machine, 'work');
    case 'session-killed':
      return await kill(machine, 'session');
    case 'link-cut':
      await machine.cutLink();
      await pause(seconds * 1000);
      await machine.restoreLink();
      return lasting;
    case 'disk-full':
      await shell(machine, FILL);
      await pause(seconds * 1000);
      await shell(machine, `rm ${BALLAST}`);
      return lasting;
    case 'redis-away':
      await shell(machine, 'systemctl stop redis-server');
      await pause(seconds * 1000);
      await shell(machine, 'systemctl start redis-server');
      return lasting;
    case 'worker-frozen':
      return await shell(machine, FREEZE);
    case 'second-deploy': {
      const second = victim.deployAgain();
      return `it ${await second.ended}`;
    }
    case 'clean-up': {
      const inputs = inputsFor(machine, { threshold: '1m', 'confirm-after': '5s' });
      const { code, outputs } = await runBundle('cleanup', inputs);
      return `exit code ${code}, ${outputs.repaired ?? 0} repaired`;
    }
    case 'power':
      await machine.crash();
      await victim.feedAgain();
      return 'off and on';
  }
}

const BALLAST = '/ballast';
/** Fills the disk to the last block, including those reserved for root. */
const FILL = `fallocate -l "$(df --output=avail -B1 / | tail -n 1)" ${BALLAST} 2>/dev/null; cat /dev/zero >>${BALLAST} 2>/dev/null || true`;

/** Between two workers there is no main process: it waits for the next one. */
const FREEZE = `for _ in $(seq 100); do
  main=$(systemctl show -P MainPID ${UNIT})
  if [ "$main" != 0 ] && kill -STOP "$main"; then echo "main $main"; exit; fi
  sleep 0.1
done
echo nobody`;

/** Finds the processes by their command lines, so that it never hits itself; waits for the first. */
const KILL = `
import os, signal, subprocess, sys, time

def words(pid):
    try:
        with open('/proc/%s/cmdline' % pid) as file:
            return file.read().split('\\0')
    except OSError:
        return []

def group(pid):
    with open('/proc/%s/cgroup' % pid) as file:
        return file.read().strip().split('::', 1)[1].split('/')[-1]

def is_agent(argv):
    return argv[1:4] == ['-I', '-S', '-uc'] and 'SOURCES' in argv[4]

def is_work(argv):
    return argv[4:6] == ['/var/lib/celeriac/program.py', 'carry-out']

chosen = sys.argv[1]
is_meant = is_work if chosen == 'work' else is_agent
for _ in range(200):
    found = [pid for pid in os.listdir('/proc') if pid.isdigit() and is_meant(words(pid))]
    try:
        if chosen == 'session':
            # All that came with the login: sshd's own process, a shell, the agent.
            found = sorted({group(pid) for pid in found})
            for name in found:
                assert name.startswith('session-'), name
                subprocess.run(['systemctl', 'kill', '--signal=KILL', name], check=True)
        else:
            for pid in found:
                os.kill(int(pid), signal.SIGKILL)
    except OSError:
        continue
    if found:
        print(', '.join(found), 'killed')
        break
    time.sleep(0.05)
else:
    print('nobody')
`;

async function kill(machine: Machine, which: 'agent' | 'work' | 'session'): Promise<string> {
  const { stdout } = await machine.run(`python3 -I -S - ${which}`, { input: KILL });
  return stdout.trim();
}
