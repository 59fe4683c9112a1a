import type { DeployWorkerDesired } from '../../config/deploy-worker-desired.ts';
import type { FileFact } from '../../model/facts/host.ts';
import type { UnitFact } from '../../model/facts/unit.ts';
import type { Operation } from '../../model/operation.ts';
import { type Sha256, sha256Text } from '../../model/units.ts';
import { redactUnit } from '../../systemd/secrets.ts';
import type { UnitPart } from '../../systemd/unit-stack.ts';
import { unifiedDiff } from '../text-diff.ts';
import type { InstalledUnit } from '../unit/unit-source.ts';
import type { WorkerUnit } from '../unit/worker-unit.ts';
import type { DeployWorkerFacts } from './look.ts';

export interface Install {
  readonly operations: readonly Operation[];
  /** False when systemd only has to reload the existing text. */
  readonly rewritten: boolean;
}

export function planInstall(
  source: InstalledUnit,
  unit: WorkerUnit,
  { unit: fact, files }: DeployWorkerFacts,
  desired: DeployWorkerDesired,
): Install | null {
  const removed = source.own
    .filter(({ path }) => path !== unit.dropIn?.path)
    .map((part) => removeDropIn(part, files[part.path], source));
  const written = planText(source, unit, files, desired);
  if (written) return { rewritten: true, operations: [...removed, written] };
  const rewritten = removed.length > 0;
  const unread =
    unit.dropIn !== null && !fact.dropIns.some(({ path }) => path === unit.dropIn?.path);
  if (!rewritten && !fact.needDaemonReload && !unread) return null;
  // A text that stays is only reloaded.
  const { path, text, file } =
    unread && unit.dropIn
      ? { ...unit.dropIn, file: files[unit.dropIn.path] }
      : { path: source.path, text: source.text, file: fact.fragment };
  const install: Operation = {
    op: 'install-unit',
    unit: desired.unit,
    path,
    text,
    expects: fileHash(file),
    title: `reload ${path} in systemd`,
    why: rewritten ? 'one of its drop-ins was removed' : 'it changed after systemd loaded it',
  };
  return { rewritten, operations: [...removed, install] };
}

/** The unit file or drop-in to write, if its text changes. */
function planText(
  source: InstalledUnit,
  unit: WorkerUnit,
  files: DeployWorkerFacts['files'],
  desired: DeployWorkerDesired,
): Operation | null {
  const why = unit.changes.join(', ') || 'its text differs from this version';
  if (unit.dropIn !== null) {
    const { path, text } = unit.dropIn;
    const before = source.own.find((part) => part.path === path)?.text ?? null;
    if (before === text) return null;
    return {
      op: 'install-unit',
      unit: desired.unit,
      path,
      text,
      expects: fileHash(files[path]),
      title: `install ${path}`,
      why,
      diff: unitDiff(path, before, text),
    };
  }
  if (unit.text === source.text) return null;
  const copied = source.target !== source.path;
  const place = copied
    ? ` (a copy of ${source.path}, which package updates may overwrite; this copy takes precedence)`
    : '';
  return {
    op: 'install-unit',
    unit: desired.unit,
    path: source.target,
    text: unit.text,
    expects: source.expects,
    title: `install ${source.target}`,
    why: why + place,
    diff: unitDiff(source.target, source.text, unit.text),
  };
}

function removeDropIn(
  part: UnitPart,
  file: FileFact | undefined,
  source: InstalledUnit,
): Operation {
  return {
    op: 'remove-file',
    path: part.path,
    expects: fileHash(file) ?? sha256Text(''),
    title: `remove ${part.path}`,
    why:
      source.mode === 'rewrite'
        ? `its settings move to ${source.target}`
        : 'the unit does not need this drop-in',
    diff: unitDiff(part.path, part.text, null),
  };
}

const unitDiff = (path: string, before: string | null, after: string | null): string =>
  unifiedDiff(path, before && redactUnit(before), after && redactUnit(after));

const fileHash = (file: FileFact | undefined): Sha256 | null =>
  file?.kind === 'file' ? file.sha256 : null;

export function planEnable(
  fact: UnitFact,
  unit: WorkerUnit,
  desired: DeployWorkerDesired,
): Operation | null {
  const state = fact.unitFileState;
  if (!unit.installable || !['disabled', 'enabled-runtime'].includes(state)) return null;
  return {
    op: 'enable-unit',
    unit: desired.unit,
    title: `enable ${desired.unit} at boot`,
    why: state === 'disabled' ? 'it is disabled' : 'it is enabled only until the next boot',
  };
}

export function verifyUnit(
  source: InstalledUnit,
  unit: WorkerUnit,
  desired: DeployWorkerDesired,
): Operation {
  const names = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
  const gone = source.own.filter(({ path }) => path !== unit.dropIn?.path);
  // An empty text stands for a drop-in that is removed.
  const dropIns = [
    ...gone.map(({ path }) => ({ name: names(path), text: '' })),
    ...(unit.dropIn ? [{ name: names(unit.dropIn.path), text: unit.dropIn.text }] : []),
  ];
  return {
    op: 'verify-unit',
    unit: desired.unit,
    text: unit.text,
    ...(dropIns.length > 0 && { dropIns }),
    title: `check the new ${desired.unit} with systemd`,
    why: 'systemd ignores the settings that it warns about',
  };
}
