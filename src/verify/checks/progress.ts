import type { ProcessFact, UnitFact } from '../../model/facts/unit.ts';
import { formatCount } from '../../model/quantities.ts';
import {
  type CheckModule,
  checkOf,
  doubtful,
  fine,
  type Remark,
  unknownCheck,
  wrong,
} from '../check.ts';
import { latest, type VerifyEvidence } from '../evidence.ts';
import { describeProcess } from '../unit-values.ts';

/** Processes of the worker that the kernel does not run. */
export const progress: CheckModule = {
  id: 'progress',
  title: 'processes that can run',
  proves:
    'No process of the unit is stopped by a signal or held by a debugger, and none waited for a disk or the kernel at two looks.',
  doesNotProve: 'That the task of a child makes progress: it may wait for something else.',
  judge(evidence) {
    const { unit } = latest(evidence);
    if (unit.processes.length === 0) return unknownCheck(progress, 'the unit has no processes');
    const remarks = [
      ...remarkStopped(unit),
      ...remarkTraced(unit.processes),
      ...remarkWaiting(evidence),
    ];
    if (remarks.length > 0) {
      const stuck = unit.processes.filter(({ state }) => 'TtD'.includes(state));
      return checkOf(progress, remarks, stuck.map(describeProcess));
    }
    const all = formatCount(unit.processes.length, 'process', 'processes');
    return checkOf(progress, [fine(`${all}, none stopped`)]);
  },
};

/** A stopped worker or child is wrong; a task may have stopped a process of its own on purpose. */
function remarkStopped({ processes, mainPid }: UnitFact): readonly Remark[] {
  const stopped = processes.filter(({ state }) => state === 'T');
  const own = stopped.filter(({ pid, parentPid }) => pid === mainPid || parentPid === mainPid);
  if (stopped.length === 0) return [];
  const seen = `stopped by a signal: ${pids(stopped)}`;
  const expected = 'no stopped process';
  const next = `\`kill -CONT ${stopped.map(({ pid }) => pid).join(' ')}\`, and find out who sent SIGSTOP`;
  return [own.length > 0 ? wrong(seen, expected, next) : doubtful(seen, expected, next)];
}

function remarkTraced(processes: readonly ProcessFact[]): readonly Remark[] {
  const traced = processes.filter(({ state }) => state === 't');
  if (traced.length === 0) return [];
  const next = 'end the debugger, or let it continue the process';
  return [doubtful(`held by a debugger: ${pids(traced)}`, 'no process held by a debugger', next)];
}

/** For a moment, every process waits for a disk. */
function remarkWaiting({ before, after }: VerifyEvidence): readonly Remark[] {
  if (after === null) return [];
  const first = new Set(before.unit.processes.filter(({ state }) => state === 'D').map(identity));
  const both = after.unit.processes.filter(
    (each) => each.state === 'D' && first.has(identity(each)),
  );
  if (both.length === 0) return [];
  const seen = `waiting for a disk or the kernel before and after the gate: ${pids(both)}`;
  const next = 'check the disks and network file systems of the host';
  return [doubtful(seen, 'no process that waits that long', next)];
}

const identity = ({ pid, startTicks }: ProcessFact): string => `${pid} ${startTicks}`;

const pids = (processes: readonly ProcessFact[]): string =>
  processes.map(({ pid }) => `pid ${pid}`).join(', ');
