import { findWorkerLine, readWorkerLine, type WorkerLine } from '../../celery/worker-line.ts';
import type { DeployWorkerDesired } from '../../config/deploy-worker-desired.ts';
import { ConfigError } from '../../model/errors.ts';
import type { FactAnswers } from '../../model/facts.ts';
import type { Sha256 } from '../../model/units.ts';
import { parseUnitFile } from '../../systemd/unit-file.ts';
import {
  isReadBefore,
  stackUnit,
  type UnitPart,
  type UnitStack,
} from '../../systemd/unit-stack.ts';
import { ownDropIns } from './drop-in-paths.ts';

/** A unit file, its drop-ins, and how systemd loaded them. */
export interface UnitSource {
  readonly path: string;
  readonly text: string;
  /** In the order in which systemd reads them, without Celeriac's own. */
  readonly dropIns: readonly UnitPart[];
  /** Celeriac's existing drop-ins. */
  readonly own: readonly UnitPart[];
  /** The possible paths of Celeriac's drop-in, preferred one first. */
  readonly ownPaths: readonly string[];
  /** As `systemctl show` prints it. */
  readonly workingDirectory: string;
  /** Of the unit's user; `null` or absent: unknown. */
  readonly home?: string | null;
}

export interface InstalledUnit extends UnitSource {
  readonly mode: DeployWorkerDesired['unitMode'];
  /** Path for a rewritten text: always below /etc. */
  readonly target: string;
  readonly expects: Sha256 | null;
}

const administrators = '/etc/systemd/system';
const vendors = ['/lib/systemd/system', '/usr/lib/systemd/system', '/usr/local/lib/systemd/system'];

export function readSource(
  facts: Pick<FactAnswers, 'unit' | 'files'>,
  desired: DeployWorkerDesired,
): InstalledUnit {
  const { unit } = facts;
  const { fragment, fragmentPath: path } = unit;
  const refuse = (problem: string, expected: string): never => {
    throw new ConfigError('input unit', problem, expected);
  };
  const name = desired.unit;
  if (name.includes('@.')) {
    return refuse(
      `${name} is a template, which cannot run itself`,
      `one of its instances, such as ${name.replace('@.', '@1.')}`,
    );
  }
  const masked = fragment.kind === 'symlink' && fragment.target === '/dev/null';
  if (masked || unit.loadState === 'masked') {
    return refuse(`${name} is masked`, `an unmasked unit: run \`systemctl unmask ${name}\` first`);
  }
  if (unit.loadState === 'not-found' || path === '' || fragment.kind === 'absent') {
    return refuse(
      `unit ${name} does not exist on the host`,
      'the name of an existing unit: see `systemctl list-unit-files "*celery*"`',
    );
  }
  if (fragment.kind === 'symlink') {
    return refuse(
      `${path} is a link to ${fragment.target}`,
      `the name of that unit itself, or a regular file in ${administrators}`,
    );
  }
  if (fragment.kind === 'other' || fragment.text === null) {
    return refuse(
      `${path} is ${fragment.kind === 'other' ? `a ${fragment.what}` : 'too large, or not UTF-8 text'}`,
      'a unit file',
    );
  }
  const parsed = parseUnitFile(fragment.text);
  const broken = parsed.brokenHeader;
  if (broken !== null) {
    return refuse(
      `${path}:${parsed.lineOf(broken)}: ${broken.raw.trim()} is not a section header, so systemd does not load the unit`,
      'a header like [Install]',
    );
  }
  const at = path.lastIndexOf('/');
  const [folder, file] = [path.slice(0, at), path.slice(at + 1)];
  // All instances share the template, so each is changed by its own drop-in.
  const isInstance = file === name.replace(/@.*(?=\.service$)/, '@') && file !== name;
  if (file !== name && !isInstance) {
    return refuse(`${name} is an alias of ${file}`, file);
  }
  const mode = isInstance ? 'drop-in' : desired.unitMode;
  const isVendors = vendors.includes(folder);
  if (mode === 'rewrite' && folder !== administrators && !isVendors) {
    return refuse(
      `${path} is generated or linked from elsewhere`,
      `a unit file in ${administrators} or ${vendors.join(', ')}, or \`unit-mode: drop-in\``,
    );
  }
  const ownPaths = ownDropIns(name);
  return {
    mode,
    path,
    text: fragment.text,
    dropIns: unit.dropIns.filter(({ path: other }) => !ownPaths.includes(other)),
    own: ownPaths.flatMap((one) => {
      const found = facts.files[one];
      if (found === undefined || found.kind === 'absent') return [];
      if (found.kind !== 'file' || found.text === null) {
        return refuse(
          `${one} is not a regular text file`,
          'no such file: Celeriac creates it itself',
        );
      }
      return [{ path: one, text: found.text }];
    }),
    ownPaths,
    workingDirectory: unit.properties.WorkingDirectory ?? '',
    home: unit.variables?.HOME ?? null,
    target: `${administrators}/${name}`,
    expects: isVendors ? null : fragment.sha256,
  };
}

export const readLine = ({ file, whereOf }: UnitStack, path: string): WorkerLine =>
  readWorkerLine(file, path, whereOf);

/** The unit with all existing drop-ins. */
export function presentUnit(source: UnitSource): UnitStack {
  const dropIns = [...source.dropIns];
  for (const part of source.own) {
    const at = dropIns.findIndex(({ path }) => isReadBefore(part.path, path));
    dropIns.splice(at === -1 ? dropIns.length : at, 0, part);
  }
  return stackUnit([source, ...dropIns]);
}

/** Like `readLine`; `null` for a unit that cannot be read. */
export const findStackLine = ({ file }: UnitStack): WorkerLine | null => findWorkerLine(file);
