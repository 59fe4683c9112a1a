import { type Bytes, bytes, KiB } from '../model/units.ts';
import type { UnitFile } from '../systemd/unit-file.ts';
import {
  applyUnitRules,
  type UnitContext,
  type UnitFault,
  type WorkerSeen,
} from '../systemd/unit-rules.ts';
import { poolSize } from './celery-call.ts';
import { findWorkerLine } from './worker-line.ts';

/** All faults of a worker's unit, in its settings and its command line. */
export const findUnitFaults = (file: UnitFile, context: UnitContext): readonly UnitFault[] =>
  applyUnitRules(file, { ...context, worker: seeWorker(file, context.cpus) });

function seeWorker(file: UnitFile, cpus: number): WorkerSeen | null {
  const line = findWorkerLine(file);
  if (line === null) return null;
  const { entry, shell, call } = line;
  const { pool, workingDirectory, maxMemoryPerChild, maxTasksPerChild } = call;
  return {
    entry,
    shell,
    children: poolSize(call, cpus),
    pool,
    maxMemoryPerChild: maxMemoryPerChild === null ? null : readKibibytes(maxMemoryPerChild),
    maxTasksPerChild,
    workingDirectory,
  };
}

const readKibibytes = (text: string): Bytes | null =>
  /^\d+$/.test(text) ? bytes(Number(text) * KiB) : null;
