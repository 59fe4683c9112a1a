import { setTimeout as sleep } from 'node:timers/promises';
import type { Kind } from '../../../../sandbox/instance.ts';
import type { Machine } from '../../../../sandbox/machine.ts';
import type { Agent } from '../../../../src/ports/agent.ts';
import { shell } from '../worker.ts';
import type { Fault } from './cases.ts';

/** Who asked for the deploy is still there after it, and hears of its end. */
export const runnerStays = (fault: Fault): boolean => fault === 'work-killed' || fills(fault);

/** There is no room until somebody makes some. */
export const fills = (fault: Fault): boolean => fault === 'disk-full' || fault === 'state-full';

/** The host starts anew. */
export const boots = (fault: Fault): boolean => fault === 'reboot' || fault === 'power-cut';

/** How long the cable is in after the halt, at most: nothing can be told once it is out. */
const CUT_SECONDS: Readonly<Record<Kind, number>> = { container: 2, vm: 6 };

/** After how many seconds a halted work goes on by itself; 0: when it is told. */
export const goesOnAfter = (fault: Fault, kind: Kind): number =>
  fault === 'link-cut' ? CUT_SECONDS[kind] : 0;

const SCOPES =
  "$(systemctl list-units --plain --no-legend 'celeriac-*.scope' | cut -d' ' -f1 | grep .)";
const GO_ON = `systemctl kill -s CONT ${SCOPES}`;
const KILL_WORK = `systemctl kill -s KILL ${SCOPES}`;
// Not begun yet while the agent itself writes.
const KILL_ANY_WORK = `scopes=${SCOPES}; test -z "$scopes" || systemctl kill -s KILL $scopes`;
const BALLAST = '/ballast';
const STATE_BALLAST = '/var/lib/celeriac/ballast';

/** What a fault needs before the deploy begins. */
export async function setStage(machine: Machine, fault: Fault): Promise<void> {
  if (fault !== 'state-full') return;
  await shell(
    machine,
    'mkdir -p /var/lib/celeriac; mount -t tmpfs -o size=64M,mode=700 none /var/lib/celeriac',
  );
}

/** After a case whose host is good enough for the next one. */
export async function clearStage(machine: Machine, fault: Fault): Promise<void> {
  if (fault === 'state-full') await shell(machine, 'umount /var/lib/celeriac');
}

/** Does it, to a host whose work stands still. */
export async function strike(machine: Machine, fault: Fault, runner: Agent): Promise<void> {
  switch (fault) {
    case 'work-killed':
      await shell(machine, KILL_WORK);
      return;
    case 'runner-killed':
      await shell(machine, `${killRunner(runner)}; ${GO_ON}`);
      return;
    case 'all-killed':
      await shell(machine, `${killRunner(runner)}; ${KILL_ANY_WORK}`);
      return;
    case 'link-cut':
      await machine.cutLink();
      await runner.close().catch(() => {});
      await sleep((goesOnAfter(fault, machine.kind) + 1) * 1000);
      await machine.restoreLink();
      return;
    case 'reboot':
      await machine.rebootAtOnce();
      return;
    case 'power-cut':
      await machine.crash();
      return;
    case 'disk-full':
      await shell(machine, `${fill(BALLAST)}; ${GO_ON}`);
      return;
    case 'state-full':
      await shell(machine, `${fill(STATE_BALLAST)}; ${GO_ON}`);
      return;
  }
}

/** There is room again. */
export async function makeRoom(machine: Machine): Promise<void> {
  await shell(machine, `rm -f ${BALLAST} ${STATE_BALLAST}`);
}

/** The agent, and the process of sshd that carries its connection. */
const killRunner = ({ hello: { pid } }: Agent): string =>
  `pid=${pid}; until [ "$(cat /proc/$pid/comm)" = sshd ]; do pid=$(awk '/^PPid/ { print $2 }' /proc/$pid/status); done; kill -KILL ${pid} $pid`;

/** To the last block, also those that only root may take. */
const fill = (path: string): string => `python3 -I -S -c '
import os
handle, size, at = os.open("${path}", os.O_WRONLY | os.O_CREAT), 1 << 30, 0
while size >= 4096:
    try:
        os.posix_fallocate(handle, at, size)
        at += size
    except OSError:
        at = os.fstat(handle).st_size
        size //= 2
'; sync -f ${path}`;
