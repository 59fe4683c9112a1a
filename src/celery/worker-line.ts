import { ConfigError } from '../model/errors.ts';
import type { UnitFact } from '../model/facts/unit.ts';
import {
  type ExecCommand,
  type ExecWord,
  isExpanded,
  parseExecLine,
} from '../systemd/exec-line.ts';
import { readShell } from '../systemd/shell-line.ts';
import type { Assignment } from '../systemd/unit-entry.ts';
import type { UnitFile } from '../systemd/unit-file.ts';
import { stackUnit } from '../systemd/unit-stack.ts';
import { type CeleryCall, type CelerySearch, findCeleryCall, withoutShell } from './celery-call.ts';
import { ownSearchPath, type ProgramPlace, sceneOf } from './program-place.ts';
import { assignIn, expandIn, isHidden, resolveIn, runIn, type Scene } from './shell-scene.ts';

/** The `ExecStart=` of a unit that runs one Celery worker. */
export interface WorkerLine {
  readonly entry: Assignment;
  /** The words of the command, unquoted; of a shell script, those of its last command. */
  readonly argv: readonly string[];
  readonly words: readonly ExecWord[];
  /** `NAME=value` words of `env` or of a shell. */
  readonly assignments: readonly ExecWord[];
  readonly call: CeleryCall;
  /** Whether there is a shell, and whether it execs the worker or waits for it. */
  readonly shell: 'none' | 'becomes' | 'waits';
  /** Where its program is. */
  readonly place: ProgramPlace;
}

const direct =
  'one ExecStart= that runs the worker directly, e.g. ' +
  '`ExecStart=/usr/bin/celery -A app worker --concurrency=1`';

/**
 * Reads the command line of the worker from a unit.
 *
 * @throws ConfigError unless the unit runs exactly one worker, in the foreground, by a command that
 *   can be read
 */
export function readWorkerLine(
  file: UnitFile,
  path: string,
  whereOf = (entry: Assignment): string => `${path}:${file.lineOf(entry)}`,
): WorkerLine {
  const entries = file.effective('Service', 'ExecStart');
  const [entry] = entries;
  if (!entry) {
    throw new ConfigError('input unit', `${path} has no ExecStart=`, direct);
  }
  const where = whereOf(entry);
  if (entries.length > 1) {
    const places = entries.map(whereOf).join(', ');
    throw unreadable(path, `has several ExecStart= lines (${places})`, direct);
  }
  const commands = parseExecLine(entry.value);
  if (commands === null) {
    throw unreadable(where, 'ExecStart= has an unclosed quote', 'balanced quotes');
  }
  const [command] = commands;
  if (!command || commands.length > 1) {
    throw unreadable(where, 'ExecStart= runs several commands, separated by `;`', direct);
  }
  const read = readCommand(command, entry, file);
  if (read.kind === 'refused') {
    throw unreadable(where, `ExecStart= ${read.problem}`, read.expected ?? direct);
  }
  const type = file.value('Service', 'Type') ?? 'simple';
  if (type === 'forking' || type === 'oneshot') {
    throw unreadable(
      path,
      `has Type=${type}, but the worker must run in the foreground`,
      'a worker that does not detach, and Type=simple or Type=notify; remove PIDFile= and --detach',
    );
  }
  return read.line;
}

type CommandReading =
  | { readonly kind: 'read'; readonly line: WorkerLine }
  | { readonly kind: 'refused'; readonly problem: string; readonly expected?: string };

function readCommand(
  { prefixes, words }: ExecCommand,
  entry: Assignment,
  file: UnitFile,
): CommandReading {
  const argv = words.map(({ text }) => text);
  const [first = ''] = argv;
  const scene = sceneOf(file);
  const shellWord = whyOnlyAShell(first);
  if (shellWord !== null) return { kind: 'refused', ...shellWord };
  if (/^[$~]/.test(first)) {
    const problem = first.startsWith('$')
      ? `the program is given by a variable (${first}), which systemd does not expand there`
      : `the program is ${first}, and systemd does not expand ~`;
    return {
      kind: 'refused',
      problem: `names no program: ${problem}`,
      expected: nameIt(first, scene),
    };
  }
  if (first.includes('/') && !/^[/%]/.test(first)) {
    const whole = resolveIn(scene.directory, first);
    const problem = `runs ${first}, which systemd does not accept: it is neither an absolute path nor a bare name`;
    return {
      kind: 'refused',
      problem,
      expected: `the whole path, e.g. ${isHidden(whole) ? first : whole}`,
    };
  }
  const found = findKnownCall(argv, scene, { argumentZero: prefixes.includes('@') });
  if (found.kind === 'found') {
    const assignments = words
      .slice(0, found.call.wrapper.length)
      .filter(({ text }) => found.call.environment.includes(text));
    const own = assignIn(
      scene,
      assignments.map(({ text }) => text),
    );
    // systemd looks a bare name up itself; env and other wrappers use PATH.
    const lookup = found.call.wrapper.length === 0 ? { ...own, path: ownSearchPath(file) } : own;
    const place = placeOf(argv, found.call, lookup);
    const call = { ...found.call, app: expandApp(found.call.app, scene) };
    return { kind: 'read', line: { entry, argv, words, assignments, call, shell: 'none', place } };
  }
  return found.shell === undefined ? found : readScript(words, found.shell, entry, scene);
}

/** Words that systemd would look up as programs. */
function whyOnlyAShell(
  first: string,
): { readonly problem: string; readonly expected: string } | null {
  const name = /^([A-Za-z_][A-Za-z0-9_]*)=/.exec(first)?.[1];
  if (name !== undefined) {
    return {
      problem: `begins with ${name}=, which only a shell understands`,
      expected: `Environment=${name}=… in the unit, and ExecStart= with the celery command alone`,
    };
  }
  return /^(?:cd|source|\.|export|exec|set)$/.test(first)
    ? { problem: `begins with ${first}, which only a shell understands`, expected: withoutShell }
    : null;
}

/** The app of `-A`, where the unit itself gives the value of a variable in it. */
function expandApp(app: string | null, scene: Scene): string | null {
  if (app === null || !app.includes('$')) return app;
  const known = expandIn(scene, app);
  return isExpanded(known) ? app : known;
}

const placeOf = (argv: readonly string[], call: CeleryCall, scene: Scene): ProgramPlace => ({
  word: expandIn(scene, argv[call.wrapper.length] ?? ''),
  scene,
});

/** What to write instead of a program that a variable gives: its value, where the unit shows it. */
function nameIt(program: string, scene: Scene): string {
  const known = expandIn(scene, program);
  const path = isHidden(known) || !known.startsWith('/') ? '/srv/app/venv/bin/celery' : known;
  return `the path of celery itself, e.g. \`ExecStart=${path} -A app worker\``;
}

/** Like `findCeleryCall`, with a program that the unit gives by a variable replaced by its value. */
function findKnownCall(
  argv: readonly string[],
  scene: Scene,
  options: { readonly argumentZero?: boolean } = {},
): CelerySearch {
  const found = findCeleryCall(argv, options);
  if (found.kind === 'found' || found.program === undefined) return found;
  const written = argv[found.program] ?? '';
  if (!written.includes('$')) return found;
  const known = expandIn(scene, written);
  if (!isHidden(known) && !/\s/.test(known)) {
    const again = findCeleryCall(argv.with(found.program, known), options);
    if (again.kind === 'found' || again.program !== found.program) return again;
  }
  return {
    kind: 'refused',
    problem: `does not name its program: the program is given by a variable (${written})`,
    expected: nameIt(written, scene),
  };
}

function readScript(
  words: readonly ExecWord[],
  shell: number,
  entry: Assignment,
  start: Scene,
): CommandReading {
  const name = words[shell]?.text ?? 'sh';
  const refuse = (problem: string, expected = withoutShell): CommandReading => ({
    kind: 'refused',
    problem,
    expected,
  });
  const from = words.findIndex(({ text }, at) => at > shell && !/^[-+]/.test(text));
  const [word, ...more] = from === -1 ? [] : words.slice(from);
  const options = words.slice(shell + 1, from === -1 ? undefined : from).map(({ text }) => text);
  const isScript = options.some((text) => /^-[a-z]*c$/.test(text));
  if (!word || !isScript || more.length > 0) {
    return refuse(`starts ${name}; cannot tell what it runs`);
  }
  const written = entry.value.slice(word.start, word.end);
  // Offsets in the script are offsets in the line only if nothing is escaped.
  if (written !== `'${word.text}'` && written !== `"${word.text}"`) {
    return refuse(`passes a script to ${name} that is not one quoted word without escapes`);
  }
  const reading = readShell(word.text);
  if (reading.kind === 'refused') {
    return refuse(`passes a script to ${name} that ${reading.problem}`);
  }
  const { script } = reading;
  const place = ({ text, start, end }: ExecWord): ExecWord => ({
    text,
    start: word.start + 1 + start,
    end: word.start + 1 + end,
  });
  const outer = words.slice(0, shell).filter(isAssignment);
  const login = options.some((text) => text === '--login' || /^-[a-z]*l/.test(text));
  const given = assignIn(
    start,
    outer.map(({ text }) => text),
  );
  const scene = script.before
    .map((command) => command.map(({ text }) => text))
    .reduce(
      runIn,
      login
        ? {
            ...given,
            path: [],
            hiddenBy: `${name} ${options.join(' ')}, a login shell, whose profile sets PATH`,
          }
        : given,
    );
  if (isHidden(scene.directory)) {
    return refuse(
      `passes a script to ${name} that changes to ${scene.directory}, which the unit does not show`,
    );
  }
  const argv = script.words.map(({ text }) => text);
  const inner = findKnownCall(argv, scene);
  if (inner.kind === 'refused') {
    return refuse(`passes a script to ${name} that ${inner.problem}`, inner.expected);
  }
  const { call } = inner;
  return {
    kind: 'read',
    line: {
      entry,
      argv,
      words: script.words.map(place),
      assignments: [...outer, ...script.assignments.map(place)],
      call: {
        ...call,
        app: expandApp(call.app, scene),
        environment: [
          ...outer.map(({ text }) => text),
          ...script.assignments.map(({ text }) => text),
          ...call.environment,
        ],
        workingDirectory: directoryOf(call, scene, given),
      },
      shell: script.becomes ? 'becomes' : 'waits',
      place: placeOf(argv, call, assignIn(scene, call.environment)),
    },
  };
}

/** `--workdir`, or where the shell went; `null`: the directory of the unit. */
function directoryOf(call: CeleryCall, scene: Scene, before: Scene): string | null {
  if (call.workingDirectory !== null) {
    return resolveIn(scene.directory, expandIn(scene, call.workingDirectory));
  }
  return scene.directory === before.directory ? null : scene.directory;
}

const isAssignment = ({ text }: ExecWord): boolean => /^[A-Za-z_][A-Za-z0-9_]*=/.test(text);

/** The worker's line in a unit's files, including drop-ins; `null` when they cannot be read. */
export function workerLineOf({ fragment, fragmentPath, dropIns }: UnitFact): WorkerLine | null {
  if (fragment.kind !== 'file' || fragment.text === null) return null;
  return findWorkerLine(stackUnit([{ path: fragmentPath, text: fragment.text }, ...dropIns]).file);
}

/** The value of `-A`, unless systemd expands it. */
export function appOf(line: WorkerLine): string | null {
  const { app } = line.call;
  return app === null || app === '' || isExpanded(app) ? null : app.replaceAll('%%', '%');
}

/** Like `readWorkerLine`; `null` for a unit that cannot be read. */
export function findWorkerLine(file: UnitFile): WorkerLine | null {
  try {
    return readWorkerLine(file, '', () => '');
  } catch (error) {
    if (error instanceof ConfigError) return null;
    throw error;
  }
}

function unreadable(where: string, problem: string, expected: string): ConfigError {
  return new ConfigError('input unit', `${where}: ${problem}`, expected);
}
