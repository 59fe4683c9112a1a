import type { Machine } from '../../sandbox/machine.ts';
import { BACKEND, SUPPORT, UNIT, UNIT_PATH } from '../../test/host/lib/worker.ts';

/** What every program has to find on a host, and changes nothing about. */
export interface WorkerState {
  readonly unit: string;
  readonly files: readonly {
    readonly title: string;
    /** Its name beside the playbook. */
    readonly source: string;
    readonly path: string;
  }[];
  readonly questions: readonly Question[];
}

/** A command whose answer is known; it changes nothing. */
interface Question {
  readonly title: string;
  readonly command: string;
  readonly answer: string;
}

/** The state without an import of the app, which a run of Celeriac that changes nothing spares itself. */
export function withoutImport(state: WorkerState): WorkerState {
  return { ...state, questions: state.questions.filter(({ title }) => title !== importTitle) };
}

const importTitle = 'the app can be imported';

const limits = ['MemoryMax', 'MemoryHigh', 'TimeoutStopUSec', 'WatchdogUSec'];

const commands = [
  {
    title: importTitle,
    command: `cd ${BACKEND} && /usr/bin/python3 -c 'import celery_app; print("imported")'`,
  },
  {
    title: 'its limits are in effect',
    command: `systemctl show ${UNIT} -p ${limits.join(',')} | sort | tr '\\n' ' '; echo .`,
  },
  // A pattern that does not match the shell that carries it.
  { title: 'its processes are there', command: "pgrep -cf '[c]elery -A celery_app'" },
] as const;

/** The state of a host that Celeriac has deployed, and the texts of its files by their `source`. */
export async function readState(
  machine: Machine,
): Promise<{ readonly state: WorkerState; readonly texts: Readonly<Record<string, string>> }> {
  const files = [
    { title: 'its unit', source: UNIT, path: UNIT_PATH },
    { title: 'its support module', source: 'celeriac_support.py', path: SUPPORT },
  ];
  const texts: Record<string, string> = {};
  for (const { source, path } of files) texts[source] = await machine.readFile(path);
  const questions: Question[] = [];
  for (const { title, command } of commands) {
    const { stdout } = await machine.run(command, { timeoutSeconds: 60 });
    questions.push({ title, command, answer: stdout.trimEnd() });
  }
  return { state: { unit: UNIT, files, questions }, texts };
}
