import type { ProcessFact, UnitFact } from '../../model/facts/unit.ts';
import { type Bytes, bytes } from '../../model/units.ts';

/** How much memory the processes of a running worker use. */
export interface WorkerSize {
  readonly mainBytes: Bytes;
  /** Each child with all of its descendants, such as a browser that a task started. */
  readonly childrenBytes: readonly Bytes[];
  /** A child alone, as Celery measures it. */
  readonly smallestChildBytes: Bytes | null;
  readonly largestChildBytes: Bytes | null;
}

const shell = /(?:^|\/)-?(?:ba|da|z|k|a)?sh$/;

/** Measures the processes of a unit; `null`: it has no main process. */
export function measureWorker({ mainPid, processes }: UnitFact): WorkerSize | null {
  const living = processes.filter(({ state }) => state !== 'Z' && state !== 'X');
  const childrenOf = (pid: number) => living.filter(({ parentPid }) => parentPid === pid);
  let main = living.find(({ pid }) => pid === mainPid);
  if (main === undefined) return null;
  // A shell that waits for the worker is not the worker.
  for (let below = childrenOf(main.pid); shell.test(main.argv[0] ?? ''); ) {
    const [worker, ...others] = below;
    if (worker === undefined || others.length > 0) break;
    main = worker;
    below = childrenOf(main.pid);
  }
  const children = childrenOf(main.pid);
  const alone = children.map(({ residentBytes }) => residentBytes);
  return {
    mainBytes: main.residentBytes,
    childrenBytes: children.map((child) => treeBytes(child, living)),
    smallestChildBytes: alone.length === 0 ? null : bytes(Math.min(...alone)),
    largestChildBytes: alone.length === 0 ? null : bytes(Math.max(...alone)),
  };
}

function treeBytes(top: ProcessFact, all: readonly ProcessFact[]): Bytes {
  const below = [top];
  for (const each of below) below.push(...all.filter(({ parentPid }) => parentPid === each.pid));
  return bytes(below.reduce((sum, { residentBytes }) => sum + residentBytes, 0));
}
