/** Parses the command line of a Celery worker, from a unit or a process. */

import { hasChildren } from '../model/pools.ts';
import { type ReadName, readOptions, type WorkerOption } from './worker-options.ts';
import { wrapperOf } from './wrappers.ts';

export interface CeleryCall {
  /** What precedes the program, e.g. `env X=1` or `nice -n 5`. */
  readonly wrapper: readonly string[];
  /** `VAR=value` words of `env`. */
  readonly environment: readonly string[];
  /** `['/usr/bin/celery']`, or `['/usr/bin/python3', '-m', 'celery']`. */
  readonly program: readonly string[];
  /** The value of `-A`; `null` when not set. */
  readonly app: string | null;
  /** `null`: the app decides. */
  readonly queues: readonly string[] | null;
  /** `-X`: of these queues, those that it does not consume. */
  readonly excludedQueues: readonly string[];
  /** The text of `--concurrency`; `null` when not set: one child per CPU. */
  readonly concurrency: string | null;
  readonly autoscale: string | null;
  /** `prefork` by default. */
  readonly pool: string;
  /** The text of `--max-memory-per-child`, in KiB; `null`: the app decides. */
  readonly maxMemoryPerChild: string | null;
  readonly maxTasksPerChild: string | null;
  readonly prefetchMultiplier: string | null;
  readonly include: readonly string[];
  /** `-B`: the scheduler runs inside the worker. */
  readonly beat: boolean;
  readonly workingDirectory: string | null;
  /** Files that it writes: `--pidfile`, `--logfile`, `--statedb`, `--schedule`. */
  readonly files: readonly string[];
  readonly options: Readonly<Record<ReadName, readonly WorkerOption[]>>;
  /** Index of the argument that ends the options: that of `--`, or the length. */
  readonly endOfOptions: number;
}

export type CelerySearch =
  | { readonly kind: 'found'; readonly call: CeleryCall }
  | {
      readonly kind: 'refused';
      /** Completes the sentence "ExecStart= …". */
      readonly problem: string;
      readonly expected?: string;
      /** Index of the argument that is a shell with `-c`, for callers that can read its script. */
      readonly shell?: number;
      /** Index of a program that is not known; a variable may have to be resolved first. */
      readonly program?: number;
    };

/** Programs that exec the command they are given, with their options that take a value. */
const wrappers: Readonly<Record<string, readonly string[]>> = {
  nice: ['-n', '--adjustment'],
  ionice: ['-c', '--class', '-n', '--classdata'],
  chrt: ['-T', '-P', '-D'],
  nohup: [],
  stdbuf: ['-i', '-o', '-e', '--input', '--output', '--error'],
  setpriv: ['--reuid', '--regid', '--groups', '--inh-caps', '--bounding-set'],
  'ddtrace-run': [],
  'opentelemetry-instrument': [],
};

/** Wrappers with arguments of their own before the command: how many. */
const leadingArguments: Readonly<Record<string, number>> = { chrt: 1, taskset: 1 };

const shells = ['sh', 'bash', 'dash', 'zsh', 'ksh', 'ash'];

/**
 * Finds the worker in a list of arguments; the first is the program.
 *
 * @param options.argumentZero the second argument is argv[0] of the program (systemd's `@`)
 */
export function findCeleryCall(
  argv: readonly string[],
  options: { readonly argumentZero?: boolean } = {},
): CelerySearch {
  const environment: string[] = [];
  let at = 0;
  for (;;) {
    const word = argv[at];
    if (word === undefined) return refused('does not run celery');
    const name = baseName(word);
    if (name === 'celery') {
      const start = at === 0 && options.argumentZero ? 2 : at + 1;
      return readCall(argv, at, start, environment);
    }
    if (isPython(name)) return readPython(argv, at, environment);
    if (shells.includes(name)) return refusedShell(argv, at);
    if (name === 'env') {
      const next = skipEnv(argv, at + 1, environment);
      if (next === null) return refused('uses unsupported options of env');
      at = next;
    } else if (name in wrappers || name in leadingArguments) {
      at = skipOptions(argv, at + 1, wrappers[name] ?? []) + (leadingArguments[name] ?? 0);
    } else {
      return refusedProgram(argv, at);
    }
  }
}

/** The most children that the pool can have; `null` when only the host can tell. */
export function poolSize(call: CeleryCall, cpus: number): number | null {
  const { pool, concurrency, autoscale } = call;
  if (!hasChildren(pool)) return 0;
  const written = autoscale === null ? (concurrency ?? '0') : (autoscale.split(',')[0] ?? '');
  return /^\d+$/.test(written) ? Number(written) || cpus : null;
}

const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
const isPython = (name: string): boolean => /^(?:python|pypy)[0-9.]*$/.test(name);

function refused(problem: string, expected?: string): CelerySearch {
  return expected === undefined
    ? { kind: 'refused', problem }
    : { kind: 'refused', problem, expected };
}

function refusedShell(argv: readonly string[], at: number): CelerySearch {
  const text = argv.slice(at).join(' ');
  if (/\bmulti\s+(?:start|restart|stopwait|show)\b/.test(text)) return refusedMulti();
  const name = baseName(argv[at] ?? '');
  return {
    kind: 'refused',
    problem: `starts ${name}; cannot tell what it runs`,
    expected: withoutShell,
    shell: at,
  };
}

/** What to write instead of a shell script that cannot be read. */
export const withoutShell =
  'the celery command itself, e.g. `ExecStart=/usr/bin/celery -A app worker --concurrency=1`; ' +
  'set variables in Environment= and the folder in WorkingDirectory=';

function refusedMulti(): CelerySearch {
  return refused(
    'uses `celery multi`, whose workers systemd cannot supervise',
    'one worker in the foreground: `ExecStart=/usr/bin/celery -A app worker --concurrency=1` with Type=simple, ' +
      'without PIDFile=, and without the ExecStop= and ExecReload= of celery multi; use one unit per worker',
  );
}

function refusedProgram(argv: readonly string[], at: number): CelerySearch {
  const program = argv[at] ?? '';
  const rest = argv.slice(at + 1);
  const wrapper = wrapperOf(argv.slice(at));
  // `su app -c '…'` has the whole command in its last argument.
  if (wrapper !== null && rest.some((word) => /\bcelery\b/.test(word))) {
    return refused(wrapper.problem, wrapper.expected);
  }
  if (rest.some((word) => baseName(word) === 'celery')) {
    return refused(
      `starts celery through ${program}, which is not a known wrapper`,
      'the celery command itself, possibly through env, nice or ionice',
    );
  }
  if (/\.(?:ba)?sh$|^\/etc\/init\.d\//.test(program)) {
    return refused(`runs ${program}; cannot tell what a script starts`, withoutShell);
  }
  return { kind: 'refused', problem: `runs ${program}, not celery`, program: at };
}

function skipEnv(argv: readonly string[], start: number, environment: string[]): number | null {
  let at = start;
  for (;;) {
    const word = argv[at] ?? '';
    if (/^[A-Za-z_][A-Za-z0-9_]*=/.test(word)) environment.push(word);
    else if (word === '-u' || word === '-C') at += 1;
    else if (word === '-' || word === '-i' || word === '--') at += 0;
    else return word.startsWith('-') ? null : at;
    at += 1;
  }
}

function skipOptions(argv: readonly string[], start: number, valued: readonly string[]): number {
  let at = start;
  while (argv[at]?.startsWith('-')) at += valued.includes(argv[at] ?? '') ? 2 : 1;
  return at;
}

function readPython(
  argv: readonly string[],
  start: number,
  environment: readonly string[],
): CelerySearch {
  let at = start + 1;
  for (;;) {
    const word = argv[at];
    if (word === undefined) return refused('starts Python without a program');
    const bundle = /^-([bBdEhiIOPqsSuvVx]*)([mcWX]?)(.*)$/.exec(word);
    if (!bundle) {
      return baseName(word) === 'celery'
        ? readCall(argv, start, at + 1, environment)
        : refusedProgram(argv, at);
    }
    const [, single = '', valued, value = ''] = bundle;
    if (/[IE]/.test(single)) {
      return refused(
        `passes ${word} to Python, which then ignores PYTHONPATH`,
        'Python without -I and -E, so that it finds the support module',
      );
    }
    if (valued === 'c') return refused('runs inline Python code (-c)');
    if (valued === 'm') {
      const name = value === '' ? (argv[at + 1] ?? '') : value;
      if (name !== 'celery') return refused(`runs the Python module ${name}, not celery`);
      return readCall(argv, start, value === '' ? at + 2 : at + 1, environment);
    }
    at += valued !== '' && value === '' ? 2 : 1;
  }
}

function readCall(
  argv: readonly string[],
  program: number,
  start: number,
  environment: readonly string[],
): CelerySearch {
  const { options, command, endOfOptions } = readOptions(argv, start);
  if (command === 'multi') return refusedMulti();
  if (command !== 'worker') {
    const hidden = argv.slice(start).find((word) => /^\$[A-Za-z_{]/.test(word));
    if (command === null && hidden !== undefined) {
      return refused(
        `passes the arguments of celery in a variable (${hidden})`,
        'the arguments themselves, e.g. `ExecStart=/usr/bin/celery -A app worker --concurrency=1`',
      );
    }
    return refused(
      command === null
        ? 'runs celery, but not its worker command'
        : `runs celery ${command}, not a worker`,
    );
  }
  if (options.detach.length > 0) {
    return refused(
      'runs the worker in the background (--detach)',
      'a worker in the foreground: remove --detach',
    );
  }
  const last = (name: ReadName): string | null => options[name].at(-1)?.value ?? null;
  const list = (text: string | null): readonly string[] | null =>
    text === null
      ? null
      : text
          .split(',')
          .map((one) => one.trim())
          .filter((one) => one !== '');
  return {
    kind: 'found',
    call: {
      wrapper: argv.slice(0, program),
      environment,
      program: argv.slice(program, start),
      app: last('app'),
      queues: list(last('queues')),
      excludedQueues: list(last('exclude')) ?? [],
      concurrency: last('concurrency'),
      autoscale: last('autoscale'),
      pool: last('pool') ?? 'prefork',
      maxMemoryPerChild: last('maxMemory'),
      maxTasksPerChild: last('maxTasks'),
      prefetchMultiplier: last('prefetch'),
      include: list(last('include')) ?? [],
      beat: options.beat.length > 0,
      workingDirectory: last('workdir'),
      files: options.file.map(({ value }) => value).filter((value) => value !== ''),
      options,
      endOfOptions,
    },
  };
}
