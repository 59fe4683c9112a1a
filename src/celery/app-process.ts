import type { UnitFact } from '../model/facts/unit.ts';
import type { ByTheApp } from '../model/operation/app.ts';
import { isExpanded } from '../systemd/exec-line.ts';
import { findCeleryCall } from './celery-call.ts';
import { interpreterOf, interpreterOfCommand } from './interpreter.ts';
import { candidatesOf, locateProgram, runningPython } from './program-place.ts';
import { atHome } from './shell-scene.ts';
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
  /** What hides the path of the program, such as a variable. */
  | { readonly kind: 'unknown'; readonly missing: 'python'; readonly from: string }
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
  const workingDirectory = homeOf(call.workingDirectory, unit);
  const pythonPath = [options.supportDirectory, workingDirectory].filter(
    (folder) => typeof folder === 'string' && !isExpanded(folder),
  ) as readonly string[];
  const interpreter = line
    ? interpreterFor(line, unit, pythonPath)
    : (interpreterOf(unit) ?? runningPython(unit, app));
  if (interpreter === null) return { kind: 'unknown', missing: 'interpreter' };
  if ('kind' in interpreter) return interpreter;
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

/** The directory with the home of the unit's user in it; it may still have variables. */
const homeOf = (directory: string | null, { variables }: UnitFact): string | null =>
  directory && atHome(directory, variables?.HOME);

/**
 * The Python of the worker, started with the variables that its line sets. A program whose shebang is
 * not Python, such as pip's trampoline for long paths, has its Python in the same folder.
 */
function interpreterFor(
  line: WorkerLine,
  unit: UnitFact,
  pythonPath: readonly string[],
): readonly string[] | (AppProcess & { readonly kind: 'unknown' }) {
  const python = pythonOf(line, unit);
  if ('kind' in python) return python;
  const literal = line.call.environment
    .map(asTheHostReads)
    .filter((word) => !isExpanded(word.replaceAll(inheritedPath, '')))
    .map((word) => extendPath(withoutEscapes(word), pythonPath));
  return [...(literal.length > 0 ? ['/usr/bin/env', ...literal] : []), ...python];
}

function pythonOf(
  line: WorkerLine,
  unit: UnitFact,
): readonly string[] | (AppProcess & { readonly kind: 'unknown' }) {
  const place = locateProgram(line.place, unit);
  if (place.kind === 'missing') {
    return { kind: 'unknown', missing: 'program', program: place.program };
  }
  const running = (from: string) =>
    runningPython(unit, appOf(line)) ?? ({ kind: 'unknown', missing: 'python', from } as const);
  if (place.kind === 'hidden') return running(place.from);
  const { path } = place;
  const rest = line.argv.slice(line.call.wrapper.length + 1);
  const shown = interpreterOfCommand([path, ...rest], unit.programs);
  if (shown !== null) return shown;
  const beside = pythonBeside(path);
  return unit.programs[beside]?.exists === false ? running(path) : [beside];
}

const pythonBeside = (path: string): string => `${path.slice(0, path.lastIndexOf('/'))}/python3`;

/**
 * The paths about which the host has not been asked yet, though they decide which Python the worker
 * has: those that a shell, `env` or a search path leads to.
 */
export function programsToAskFor(unit: UnitFact): readonly string[] {
  const line = workerLineOf(unit);
  if (line === null) return [];
  const rest = line.argv.slice(line.call.wrapper.length + 1);
  const { candidates } = candidatesOf(line.place, unit);
  return candidates
    .flatMap((path) =>
      interpreterOfCommand([path, ...rest], unit.programs) === null
        ? [path, pythonBeside(path)]
        : [path],
    )
    .filter((path) => unit.programs[path] === undefined);
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
