import { stopMarginSeconds } from '../../celery/app-rules.ts';
import type { WorkerLine } from '../../celery/worker-line.ts';
import type { DeployWorkerDesired } from '../../config/deploy-worker-desired.ts';
import { ConfigError } from '../../model/errors.ts';
import type { Finding } from '../../model/operation.ts';
import { hasChildren, hasNoChildren } from '../../model/pools.ts';
import type { UnitFile } from '../../systemd/unit-file.ts';
import type { UnitContext } from '../../systemd/unit-rules.ts';
import {
  isReadBefore,
  stackUnit,
  type UnitPart,
  type UnitStack,
} from '../../systemd/unit-stack.ts';
import { microseconds } from '../../systemd/values.ts';
import { renderDropIn } from './drop-in.ts';
import { checkDropIns } from './drop-in-conflicts.ts';
import { type Edit, editUnit } from './edit-unit.ts';
import { describeHardening, printPaths, readWritePathsOf } from './hardening.ts';
import { describeCall, listChanges } from './unit-changes.ts';
import { describeFaults, describePool, describeSwap } from './unit-findings.ts';
import { type Setting, spanOrNever } from './unit-settings.ts';
import { findStackLine, presentUnit, readLine, type UnitSource } from './unit-source.ts';

/** The desired unit. */
export interface WorkerUnit {
  /** The unit file's text; unchanged if a drop-in is used. */
  readonly text: string;
  /** The only drop-in that Celeriac should have; `null`: none. */
  readonly dropIn: UnitPart | null;
  readonly line: WorkerLine;
  /** The properties that `systemctl show` must then print. */
  readonly properties: Readonly<Record<string, string>>;
  /** `key: before → after`, one for each setting that changes. */
  readonly changes: readonly string[];
  readonly findings: readonly Finding[];
  readonly installable: boolean;
  /** How long systemd waits for the worker to stop; `Infinity`: unlimited. */
  readonly startMicroseconds: number;
  readonly stopMicroseconds: number;
}

/**
 * Rewrites a worker's unit; keeps its comments, its order and all settings that are not Celeriac's.
 *
 * @throws ConfigError when the unit cannot be read, or a drop-in contradicts it
 */
export function rewriteWorkerUnit(
  source: UnitSource,
  desired: DeployWorkerDesired,
  context: UnitContext,
): WorkerUnit {
  const fragment = stackUnit([source]);
  const edit = editUnit(fragment, source, desired, context);
  checkDropIns(source.dropIns, source.path, edit.settings, desired);
  const text = edit.after.print();
  const effective = stackUnit([{ path: source.path, text }, ...source.dropIns]);
  const before = readLine(fragment, source.path);
  return {
    text,
    dropIn: null,
    ...describeEdit(source, edit, presentUnit(source), effective, desired, context),
    changes: [
      ...listChanges(fragment.file, edit.after, describeCall(before, edit.line)),
      ...source.own.map(({ path }) => `${path} no longer needed`),
    ],
  };
}

/**
 * Does the same with a drop-in instead of changing the unit file. The drop-in contains the settings
 * that the unit and earlier drop-ins lack.
 *
 * @throws ConfigError when the unit cannot be read, or a drop-in that is read later contradicts it
 */
export function extendWorkerUnit(
  source: UnitSource,
  desired: DeployWorkerDesired,
  context: UnitContext,
): WorkerUnit {
  let refusal: unknown;
  for (const path of source.ownPaths) {
    try {
      return extendBy(path, source, desired, context);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      // The next name is read later, so fewer drop-ins can contradict it.
      refusal = error;
    }
  }
  throw refusal;
}

function extendBy(
  path: string,
  source: UnitSource,
  desired: DeployWorkerDesired,
  context: UnitContext,
): WorkerUnit {
  const earlier = source.dropIns.filter((dropIn) => isReadBefore(dropIn.path, path));
  const later = source.dropIns.filter((dropIn) => !isReadBefore(dropIn.path, path));
  const base = stackUnit([source, ...earlier]);
  const edit = editUnit(base, source, desired, context);
  checkDropIns(later, path, edit.settings, desired);
  const text = renderDropIn(base.file, edit.after, edit.settings);
  const dropIn = text === null ? null : { path, text };
  const effective = stackUnit([source, ...earlier, ...(dropIn ? [dropIn] : []), ...later]);
  const present = presentUnit(source);
  return {
    text: source.text,
    dropIn,
    ...describeEdit(source, edit, present, effective, desired, context),
    changes: listChanges(
      present.file,
      effective.file,
      describeCall(findStackLine(present) ?? edit.line, edit.line),
    ),
  };
}

function describeEdit(
  source: UnitSource,
  { settings, sharedTmp }: Edit,
  present: UnitStack,
  effective: UnitStack,
  desired: DeployWorkerDesired,
  context: UnitContext,
): Omit<WorkerUnit, 'text' | 'dropIn' | 'changes'> {
  const { file } = effective;
  const line = readLine(effective, source.path);
  const span = (key: string) => spanOrNever(file.value('Service', key));
  return {
    line,
    properties: listProperties(file, settings, desired),
    findings: [
      ...describeFaults(present, effective, source.path, context, desired.acceptedRules),
      ...describePool(line, desired),
      ...describeSwap(desired, context.swapActive),
      ...describeHardening(desired, sharedTmp),
    ],
    installable: file.hasSection('Install'),
    startMicroseconds: span('TimeoutStartSec') ?? microseconds(desired.startTimeoutSeconds),
    stopMicroseconds:
      span('TimeoutStopSec') ?? microseconds(desired.longestTaskSeconds + stopMarginSeconds),
  };
}

function listProperties(
  file: UnitFile,
  settings: readonly Setting[],
  { hardening }: DeployWorkerDesired,
): Readonly<Record<string, string>> {
  const properties: Record<string, string> = { KillSignal: '15' };
  for (const { section, key, property } of settings) {
    if (property === null) continue;
    const [name, print] = property;
    const printed = print(file.value(section, key));
    if (printed !== null) properties[name] = printed;
  }
  const paths = hardening === 'off' ? null : printPaths(readWritePathsOf(file));
  if (paths !== null) properties.ReadWritePaths = paths;
  return properties;
}

/** Direct children of the main process once the worker runs; `null`: unknown. */
export function countChildren(line: WorkerLine, cpus: number): number | null {
  const { pool, concurrency, autoscale, beat } = line.call;
  const scheduler = beat ? 1 : 0;
  if (hasNoChildren(pool)) return scheduler;
  if (!hasChildren(pool) || autoscale !== null) return null;
  const children = concurrency === null || concurrency === '0' ? cpus : Number(concurrency);
  return Number.isInteger(children) ? children + scheduler : null;
}
