/** Reads the options of a Celery worker: those of Celery 4 and 5, before and after the word `worker`. */

/** One option as written; the last one of the same name wins. */
export interface WorkerOption {
  /** `''` when its value is missing. */
  readonly value: string;
  /** Indexes of its first and last argument. */
  readonly first: number;
  readonly last: number;
  /** `--concurrency 5` and `-c 5`, or `--concurrency=5` and `-c5`. */
  readonly written: 'separate' | 'attached';
  /** What precedes the value in its argument, or the option's own argument: `-c`. */
  readonly prefix: string;
}

export type ReadName =
  | 'app'
  | 'queues'
  | 'exclude'
  | 'concurrency'
  | 'autoscale'
  | 'pool'
  | 'include'
  | 'workdir'
  | 'beat'
  | 'file'
  | 'detach'
  | 'maxMemory'
  | 'maxTasks'
  | 'prefetch';

/** Options whose value may be the next argument; `other`: not evaluated here. */
const withValue: Readonly<Record<string, ReadName | 'other'>> = {
  '-A': 'app',
  '--app': 'app',
  '-Q': 'queues',
  '--queues': 'queues',
  '-c': 'concurrency',
  '--concurrency': 'concurrency',
  '--autoscale': 'autoscale',
  '-P': 'pool',
  '--pool': 'pool',
  '-I': 'include',
  '--include': 'include',
  '--workdir': 'workdir',
  '-b': 'other',
  '--broker': 'other',
  '--result-backend': 'other',
  '--loader': 'other',
  '--config': 'other',
  '-n': 'other',
  '--hostname': 'other',
  '-S': 'file',
  '--statedb': 'file',
  '-l': 'other',
  '--loglevel': 'other',
  '-O': 'other',
  '--optimization': 'other',
  '--prefetch-multiplier': 'prefetch',
  '--time-limit': 'other',
  '--soft-time-limit': 'other',
  '--max-tasks-per-child': 'maxTasks',
  '--maxtasksperchild': 'maxTasks',
  '--max-memory-per-child': 'maxMemory',
  '-X': 'exclude',
  '--exclude-queues': 'exclude',
  '--heartbeat-interval': 'other',
  '-s': 'file',
  '--schedule': 'file',
  '--schedule-filename': 'file',
  '--scheduler': 'other',
  '-f': 'file',
  '--logfile': 'file',
  '--pidfile': 'file',
  '--uid': 'other',
  '--gid': 'other',
  '--umask': 'other',
  '--executable': 'other',
};

/** Options of Celery whose value may be the next argument. */
export const valuedOptions: readonly string[] = Object.keys(withValue);

const flags: Readonly<Record<string, ReadName>> = {
  '-B': 'beat',
  '--beat': 'beat',
  '-D': 'detach',
  '--detach': 'detach',
};

const commands = ['worker', 'beat', 'multi', 'flower', 'events', 'inspect', 'control', 'status'];

export function readOptions(
  argv: readonly string[],
  start: number,
): {
  readonly options: Record<ReadName, WorkerOption[]>;
  readonly command: string | null;
  readonly endOfOptions: number;
} {
  const options: Record<ReadName, WorkerOption[]> = {
    app: [],
    queues: [],
    exclude: [],
    concurrency: [],
    autoscale: [],
    pool: [],
    include: [],
    workdir: [],
    beat: [],
    file: [],
    detach: [],
    maxMemory: [],
    maxTasks: [],
    prefetch: [],
  };
  const keep = (name: ReadName | 'other', option: WorkerOption): void => {
    if (name !== 'other') options[name].push(option);
  };
  let command: string | null = null;
  let at = start;
  while (at < argv.length) {
    const word = argv[at] ?? '';
    if (word === '--') break;
    if (!word.startsWith('-') || word === '-') {
      if (command === null && commands.includes(word)) command = word;
      at += 1;
      continue;
    }
    const read = word.startsWith('--') ? readLong(word) : readShort(word);
    for (const flag of read.flags)
      keep(flag, { value: '', first: at, last: at, written: 'attached', prefix: word });
    const { valued } = read;
    if (valued === null) {
      at += 1;
    } else if (valued.value !== null) {
      const option = { value: valued.value, first: at, last: at, prefix: valued.prefix };
      keep(valued.name, { ...option, written: 'attached' });
      at += 1;
    } else {
      const last = Math.min(at + 1, argv.length - 1);
      const option = { value: argv[at + 1] ?? '', first: at, last, prefix: valued.prefix };
      keep(valued.name, { ...option, written: 'separate' });
      at += 2;
    }
  }
  return { options, command, endOfOptions: Math.min(at, argv.length) };
}

interface ReadOption {
  readonly flags: readonly ReadName[];
  /** The option that takes a value; `value` is `null` when it is in the next argument. */
  readonly valued: {
    readonly name: ReadName | 'other';
    readonly prefix: string;
    readonly value: string | null;
  } | null;
}

function readLong(word: string): ReadOption {
  const equals = word.indexOf('=');
  const name = equals === -1 ? word : word.slice(0, equals);
  const flag = flags[name];
  if (flag) return { flags: [flag], valued: null };
  const valued = withValue[name];
  if (!valued) return { flags: [], valued: null };
  return equals === -1
    ? { flags: [], valued: { name: valued, prefix: word, value: null } }
    : {
        flags: [],
        valued: { name: valued, prefix: word.slice(0, equals + 1), value: word.slice(equals + 1) },
      };
}

/** `-c5`, `-c 5`, also after flags: `-Ec5`. */
function readShort(word: string): ReadOption {
  const seen: ReadName[] = [];
  for (let at = 1; at < word.length; at += 1) {
    const name = `-${word[at]}`;
    const valued = withValue[name];
    if (valued) {
      const value = word.slice(at + 1);
      const prefix = word.slice(0, at + 1);
      return { flags: seen, valued: { name: valued, prefix, value: value === '' ? null : value } };
    }
    const flag = flags[name];
    if (flag) seen.push(flag);
  }
  return { flags: seen, valued: null };
}
