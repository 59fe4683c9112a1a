import type { WorkerLine } from '../../celery/worker-line.ts';
import { quoteWord, splitWords } from '../../systemd/exec-line.ts';
import type { Assignment, UnitFile } from '../../systemd/unit-file.ts';
import { neighbours } from './unit-settings.ts';

/** `env PYTHONPATH=… celery` overrides Environment=, and so does an assignment in a shell. */
export function extendEnv(line: WorkerLine, directory: string): Parameters<UnitFile['splice']>[1] {
  return line.assignments
    .filter(({ text }) => text.startsWith(pythonPathIs) && !holds(text, directory))
    .map(({ text, start, end }) =>
      line.shell === 'none'
        ? { start, end, text: quoteWord(extend(text, directory)) }
        : { start: end, end, text: extend('', directory) },
    );
}

const pythonPathIs = 'PYTHONPATH=';

/** In a unit file, a `%` of the directory is doubled. */
export const written = (directory: string): string => directory.replaceAll('%', '%%');

export const holds = (assignment: string, directory: string): boolean =>
  assignment.slice(pythonPathIs.length).split(':').includes(written(directory));

const extend = (assignment: string, directory: string): string =>
  assignment + (assignment === pythonPathIs ? '' : ':') + written(directory);

/** The assignments of PYTHONPATH in `Environment=`; the last one counts. */
export function pythonPaths(entries: readonly Assignment[]) {
  return entries.flatMap((entry) =>
    (splitWords(entry.value) ?? [])
      .filter(({ text }) => text.startsWith(pythonPathIs))
      .map((assignment) => ({ entry, assignment })),
  );
}

export function addPythonPath(file: UnitFile, directory: string): UnitFile {
  const last = pythonPaths(file.effective('Service', 'Environment')).at(-1);
  if (!last) {
    const value = quoteWord(pythonPathIs + written(directory));
    return file.add('Service', 'Environment', [value], neighbours.Environment);
  }
  const { text, start, end } = last.assignment;
  if (holds(text, directory)) return file;
  return file.splice(last.entry, [{ start, end, text: quoteWord(extend(text, directory)) }]);
}
