import { isAbsolute, join } from 'node:path/posix';
import type { UnitFact } from '../model/facts/unit.ts';
import type { WorkerSearch } from '../model/operation/app.ts';
import { valuedOptions } from './worker-options.ts';

const end = '\\x00';
const word = `[^\\x00]*${end}`;
// Any user chooses arguments, and root matches them. So no word may be both an option and the program,
// or the rest would be read anew from each of them: the time would grow with the square of the length.
const path = '(?:(?!-)[^\\x00]*/)?';

/** Options, each with the argument that is its value; none that begins like one of `stops`. */
const skip = (valued: readonly string[], stops: readonly string[] = []): string => {
  const others = [`(?:${valued.join('|')})${end}`, ...stops].join('|');
  return `(?:(?:${valued.join('|')})${end}${word}|(?!${others})-${word})*`;
};

const pythonFlags = '-[bBdEhiIOPqsSuvVx]*';
const python =
  `${path}(?:python|pypy)[0-9.]*[a-z]*${end}` +
  skip(['-W', '-X', '-Q', '--check-hash-based-pycs'], [`-${end}`, `${pythonFlags}[mc]`]);
const celery =
  `(?:(?:${python})?${path}celery${end}` +
  `|${python}${pythonFlags}m(?:${end})?celery(?:\\.__main__|\\.bin\\.(?:celery|worker))?${end})`;

/**
 * Matches the arguments of a Celery worker, each with a NUL after it: Celery as the program and
 * `worker` as its sub-command, `celeryd`, or the title that setproctitle writes. A shell, sudo or ssh
 * that runs such a line is another program and does not match. The host searches for workers with it
 * (`WorkerSearch`); `findCeleryCall` shows which app one runs.
 */
export const workerCommand: string =
  `^(?:\\[celeryd: [^\\x00]+\\]` +
  `|(?:${python})?${path}celeryd${end}` +
  `|${celery}${skip(valuedOptions)}worker${end})`;

/** The options in single letters that take a value: what follows them in their word is that value. */
const valuedLetters = valuedOptions
  .flatMap((option) => /^-([^-])$/.exec(option)?.[1] ?? [])
  .join('');
const beatFlag = `(?:--beat|-(?!-)[^${valuedLetters}\\x00]*B[^\\x00]*)${end}`;
/** All arguments but the options' values, up to `--`. */
const words = `(?:(?:${valuedOptions.join('|')})${end}${word}|(?!(?:${valuedOptions.join('|')}|--)${end})${word})*?`;
/**
 * Matches the arguments of a Celery beat, each with a NUL after it: `beat` as the sub-command, a worker
 * with `-B`, or the title that setproctitle writes.
 */
export const beatCommand: string =
  `^(?:\\[celery beat\\]` +
  `|${celery}(?:${skip(valuedOptions)}beat${end}` +
  `|(?=${skip(valuedOptions)}worker${end})${words}${beatFlag}))`;

/** The directory of a worker's processes. A relative `--workdir` is relative to the unit's. */
export function workingDirectoryOf(unit: UnitFact, workdir: string | null): string {
  const spelled = (unit.properties.WorkingDirectory ?? '').replace(/^!/, '');
  const home = unit.workingDirectory ?? (spelled === '' ? '/' : spelled);
  if (workdir === null || workdir === '') return home;
  return isAbsolute(workdir) ? workdir : join(home, workdir);
}

/**
 * Workers in this directory that may belong to the app and run outside its unit. They match whatever
 * app they name: a worker that is not asked may hold a task.
 */
export const otherWorkersIn = (directory: string): WorkerSearch => ({
  directory,
  command: workerCommand,
});
