import type { Stall, Stalls } from '../../model/facts/host.ts';
import {
  type CheckModule,
  checkOf,
  doubtful,
  fine,
  type Remark,
  unknownCheck,
  wrong,
} from '../check.ts';
import { latest } from '../evidence.ts';

/** Percent of the last minute in which nothing could run. */
const warnPercent = { memory: 10, io: 50 } as const;
/** Of the last five minutes, for memory: nothing gets on, although all is active. */
const failPercent = 50;

/** Whether processes run, or wait for memory or a disk (PSI). */
export const pressure: CheckModule = {
  id: 'pressure',
  title: 'waiting for memory and I/O',
  proves:
    'The processes of the unit, and of the host unless it is a container, were not all stalled for lack of memory for half of the last 5 min. From 10 % of the last minute on (I/O: 50 %), it is a warning.',
  doesNotProve: 'Anything about moments before. In a container, only the unit itself is checked.',
  judge(seen) {
    const { pressure: stalls, host } = latest(seen);
    const remarks = [
      ...judgeStalls('unit', stalls.unit),
      // The kernel shows a container its machine.
      ...(host.container === null ? judgeStalls('host', stalls.machine) : []),
    ];
    if (remarks.length === 0) {
      return unknownCheck(pressure, 'the kernel does not measure it here (PSI)');
    }
    return checkOf(pressure, remarks);
  },
};

function judgeStalls(whose: string, { memory, io }: Stalls): readonly Remark[] {
  return [
    ...(memory === null ? [] : [judgeStall(`${whose}: memory`, memory, 'memory')]),
    ...(io === null ? [] : [judgeStall(`${whose}: I/O`, io, 'io')]),
  ];
}

function judgeStall(what: string, { full }: Stall, kind: 'memory' | 'io'): Remark {
  const seen = `${what} ${full.avg60} %`;
  const expected = `all processes stalled for at most ${warnPercent[kind]} % of a minute`;
  const next =
    kind === 'memory'
      ? 'raise memory-high and memory-max, lower the concurrency, or add memory'
      : 'check which process uses the disk, and the disk itself';
  if (kind === 'memory' && full.avg300 > failPercent) {
    return wrong(`${what} ${full.avg300} % of the last 5 min`, expected, next);
  }
  return full.avg60 > warnPercent[kind] ? doubtful(seen, expected, next) : fine(seen);
}
