import type { WorkerCall } from '../../celery/worker-call.ts';
import type { VerifyDesired } from '../../config/verify-desired.ts';
import { formatCount } from '../../model/quantities.ts';
import { type CheckModule, checkOf, doubtful, fine, wrong } from '../check.ts';
import { latest } from '../evidence.ts';
import { describeProcess } from '../unit-values.ts';

interface Range {
  readonly min: number;
  readonly max: number;
}

/** One main process and the desired number of children. */
export const processes: CheckModule = {
  id: 'processes',
  title: 'processes',
  proves: 'One main process runs with the desired number of children, none of them a zombie.',
  doesNotProve: 'That the children work.',
  judge(evidence, desired) {
    const { unit } = latest(evidence);
    const main = unit.processes.find((process) => process.pid === unit.mainPid);
    const children = unit.processes.filter((process) => process.parentPid === unit.mainPid);
    const dead = children.filter((process) => process.state === 'Z');
    const living = children.length - dead.length;
    const expected = expectedChildren(desired, evidence.call);
    const lines = unit.processes.map(describeProcess);
    const seen = `${main === undefined ? 'no' : '1'} main, ${countChildren(living)}`;
    const wanted = `1 main, ${describeRange(expected)}`;
    const remarks = [
      main === undefined || living < expected.min || living > expected.max
        ? wrong(
            seen,
            wanted,
            "compare --concurrency with the running processes, and check the worker's journal",
          )
        : fine(seen),
    ];
    if (dead.length > 0) {
      const next = 'check again later; a main process that does not reap its children is stuck';
      remarks.push(doubtful(formatCount(dead.length, 'zombie'), 'no zombies', next));
    }
    const open = remarks.some((remark) => remark.verdict !== 'pass');
    return checkOf(processes, remarks, open ? lines : []);
  },
};

function expectedChildren(desired: VerifyDesired, call: WorkerCall | null): Range {
  const beat = call?.beat ? 1 : 0;
  const { concurrency } = desired;
  // Only a pool that forks has one child per unit of concurrency.
  const asked = concurrency === null || call?.forks === false ? null : concurrency;
  const pool = asked === null ? (call?.children ?? null) : { min: asked, max: asked };
  return pool === null
    ? { min: 1, max: Number.POSITIVE_INFINITY }
    : { min: pool.min + beat, max: pool.max + beat };
}

function describeRange({ min, max }: Range): string {
  if (min === max) return countChildren(min);
  return Number.isFinite(max)
    ? `${min} to ${countChildren(max)}`
    : `at least ${countChildren(min)}`;
}

const countChildren = (count: number): string => formatCount(count, 'child', 'children');
