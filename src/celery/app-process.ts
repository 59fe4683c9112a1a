import type { UnitFact } from '../model/facts.ts';
import type { ByTheApp } from '../model/operation.ts';
import { isExpanded } from '../systemd/exec-line.ts';
import { findCeleryCall } from './celery-call.ts';
import { interpreterOf, interpreterOfCommand } from './interpreter.ts';
import { appOf, type WorkerLine, workerLineOf } from './worker-line.ts';
import { workingDirectoryOf } from './worker-process.ts';

/** How to import the app of a unit, or what the unit does not show about it. */
export type AppProcess =
  | {
      readonly kind: 'known';
      readonly process: ByTheApp;
      /** Directory of the worker's processes. */
      readonly workingDirectory: string;
    }
  | { readonly kind: 'unknown'; readonly missing: 'worker' | 'app' | 'interpreter' }
  /** `program` of its ExecStart does not exist on the host. */
  | { readonly kind: 'unknown'; readonly missing: 'program'; readonly program: string };

export interface AppProcessOptions {
  /** The new command line of the worker, if it will change; otherwise that of the unit's files. */
  readonly line?: WorkerLine | null;
  /** The app, if neither the line nor the running worker shows it. */
  readonly app?: string | null;
  /** Folder of the support module; first on the module search path. */
  readonly supportDirectory?: string;
}

/**
 * How to import the app as its worker does: with the Python, the variables and the module search path
 * of the unit's command line. The host takes the user, the environment and the directory from systemd.
 *
 * If the files cannot be read, `systemctl show` and the running worker are used instead.
 */
export function appProcessOf(unit: UnitFact, options: AppProcessOptions = {}): AppProcess {
  const line = options.line ?? workerLineOf(unit);
  // The new worker differs from the one that is running.
  const running = options.line ? null : runningCall(unit);
  const call = line?.call ?? running;
  if (call === null) return { kind: 'unknown', missing: 'worker' };
  const app = (line && appOf(line)) || options.app || running?.app || null;
  if (app === null) return { kind: 'unknown', missing: 'app' };
  const { workingDirectory } = call;
  const pythonPath = [options.supportDirectory, workingDirectory].filter(
    (folder) => typeof folder === 'string' && !isExpanded(folder),
  ) as readonly string[];
  const missing = line && missingProgram(line, unit);
  if (missing !== null) return { kind: 'unknown', missing: 'program', program: missing };
  const interpreter = line ? interpreterFor(line, unit, pythonPath) : interpreterOf(unit);
  if (interpreter === null) return { kind: 'unknown', missing: 'interpreter' };
  return {
    kind: 'known',
    process: { unit: unit.name, interpreter, app, pythonPath },
    workingDirectory: workingDirectoryOf(
      unit,
      workingDirectory !== null && isExpanded(workingDirectory) ? null : workingDirectory,
    ),
  };
}

/** The call of the main process, in which systemd has expanded variables. */
function runningCall(unit: UnitFact) {
  const main = unit.processes.find(({ pid }) => pid === unit.mainPid);
  const found = main === undefined ? null : findCeleryCall(main.argv);
  return found?.kind === 'found' ? found.call : null;
}

const commandOf = ({ argv, call }: WorkerLine): readonly string[] =>
  argv.slice(call.wrapper.length);

function missingProgram(line: WorkerLine, { programs }: UnitFact): string | null {
  const [program = ''] = commandOf(line);
  return programs[program]?.exists === false ? program : null;
}

/**
 * The Python of the worker, started with the variables that its line sets. A program whose shebang is
 * not Python, such as pip's trampoline for long paths, has its Python in the same folder.
 */
function interpreterFor(
  line: WorkerLine,
  unit: UnitFact,
  pythonPath: readonly string[],
): readonly string[] {
  const argv = commandOf(line);
  const [program = ''] = argv;
  const path = program.startsWith('/') ? program : resolveProgram(program, unit);
  const literal = line.call.environment
    .map(asTheHostReads)
    .filter((word) => !isExpanded(word.replaceAll(inheritedPath, '')))
    .map((word) => extendPath(withoutEscapes(word), pythonPath));
  const env = literal.length > 0 ? ['/usr/bin/env', ...literal] : [];
  const beside = `${path.slice(0, path.lastIndexOf('/'))}/python3`;
  const python = interpreterOfCommand([path, ...argv.slice(1)], unit.programs) ?? [beside];
  return [...env, ...python];
}

/** `PYTHONPATH=` of a line overrides that of the process, so it must contain both. */
function extendPath(assignment: string, pythonPath: readonly string[]): string {
  const name = 'PYTHONPATH=';
  if (!assignment.startsWith(name)) return assignment;
  const folders = assignment.slice(name.length).split(':');
  const added = pythonPath.filter((folder) => !folders.includes(folder));
  return name + [...added, ...folders].join(':');
}

/** The host knows the PYTHONPATH of the unit's environment, and puts it there. */
const inheritedPath = '${PYTHONPATH}';

const asTheHostReads = (word: string): string =>
  /^PYTHONPATH=/.test(word) ? word.replaceAll(/\$PYTHONPATH(?!\w)/g, inheritedPath) : word;

const withoutEscapes = (text: string): string => text.replaceAll('%%', '%').replaceAll('$$', '$');

/** Where systemd finds a bare name, according to the facts. */
function resolveProgram(name: string, { programs }: UnitFact): string {
  const found = Object.entries(programs).find(
    ([path, { exists }]) => exists && path.endsWith(`/${name}`),
  );
  return found?.[0] ?? `/usr/bin/${name}`;
}
