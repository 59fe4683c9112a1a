import type { UnitFact } from '../model/facts.ts';
import type { ByTheApp } from '../model/operation.ts';
import { isExpanded } from '../systemd/exec-line.ts';
import { findCeleryCall } from './celery-call.ts';
import { interpreterOf, interpreterOfCommand } from './interpreter.ts';
import { appOf, type WorkerLine, workerLineOf } from './worker-line.ts';

/** How a process of ours imports the app of a unit, or what the unit does not tell of that. */
export type AppProcess =
  | { readonly kind: 'known'; readonly process: ByTheApp }
  | { readonly kind: 'unknown'; readonly missing: 'worker' | 'app' | 'interpreter' }
  /** `program` of its ExecStart is not on the host. */
  | { readonly kind: 'unknown'; readonly missing: 'program'; readonly program: string };

export interface AppProcessOptions {
  /** The worker's command line where it is to become another; else that of the unit's files. */
  readonly line?: WorkerLine | null;
  /** Where neither the line nor the running worker tells it. */
  readonly app?: string | null;
  /** Holds the support module; the first on the module search path. */
  readonly supportDirectory?: string;
}

/**
 * What imports the app as its worker does: the Python, the variables and the module search path of
 * the unit's command line. Its user, its environment and its directory are the unit's own: the host
 * takes them from systemd.
 *
 * Where the files can't be read, `systemctl show` and the running worker tell it.
 */
export function appProcessOf(unit: UnitFact, options: AppProcessOptions = {}): AppProcess {
  const line = options.line ?? workerLineOf(unit);
  // What is about to run is another worker than the one that runs.
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
  return { kind: 'known', process: { unit: unit.name, interpreter, app, pythonPath } };
}

/** The call of the main process, which knows what systemd put in the place of variables. */
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
 * The Python of the worker, started with the variables that its line sets. A program whose shebang
 * is no Python, such as pip's trampoline for long paths, has its Python beside it.
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
    .filter((word) => !isExpanded(word))
    .map((word) => extendPath(withoutEscapes(word), pythonPath));
  const env = literal.length > 0 ? ['/usr/bin/env', ...literal] : [];
  const beside = `${path.slice(0, path.lastIndexOf('/'))}/python3`;
  const python = interpreterOfCommand([path, ...argv.slice(1)], unit.programs) ?? [beside];
  return [...env, ...python];
}

/** `PYTHONPATH=` of a line beats the one that a process is started with: it has to hold both. */
function extendPath(assignment: string, pythonPath: readonly string[]): string {
  const name = 'PYTHONPATH=';
  if (!assignment.startsWith(name)) return assignment;
  const folders = assignment.slice(name.length).split(':');
  const added = pythonPath.filter((folder) => !folders.includes(folder));
  return name + [...added, ...folders].join(':');
}

const withoutEscapes = (text: string): string => text.replaceAll('%%', '%').replaceAll('$$', '$');

/** As systemd finds a bare name; the fact names what it found. */
function resolveProgram(name: string, { programs }: UnitFact): string {
  const found = Object.entries(programs).find(
    ([path, { exists }]) => exists && path.endsWith(`/${name}`),
  );
  return found?.[0] ?? `/usr/bin/${name}`;
}
