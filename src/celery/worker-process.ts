import { isAbsolute, join } from 'node:path/posix';
import type { UnitFact } from '../model/facts.ts';
import type { WorkerSearch } from '../model/operation.ts';
import { valuedOptions } from './celery-call.ts';

const end = '\\x00';
const word = `[^\\x00]*${end}`;
const path = '(?:[^\\x00]*/)?';

/** Options, each with the argument that is its value. */
const skip = (valued: readonly string[], stops = ''): string =>
  `(?:(?:${valued.join('|')})${end}${word}|(?!(?:${valued.join('|')}${stops})${end})-${word})*`;

const pythonFlags = '-[bBdEhiIOPqsSuvVx]*';
const python =
  `${path}(?:python|pypy)[0-9.]*[a-z]*${end}` +
  skip(['-W', '-X', '-Q', '--check-hash-based-pycs'], `|-|${pythonFlags}[mc]`);
const celery =
  `(?:(?:${python})?${path}celery${end}` +
  `|${python}${pythonFlags}m(?:${end})?celery(?:\\.__main__|\\.bin\\.(?:celery|worker))?${end})`;

/**
 * Matches the arguments of a Celery worker, each with a NUL after it: Celery as the program and
 * `worker` as its sub-command, `celeryd`, or the title that setproctitle writes. A shell, sudo or ssh
 * that carries such a line is another program and does not match. The host looks for workers by it
 * (`WorkerSearch`); which app one runs is told by `findCeleryCall`.
 */
export const workerCommand: string =
  `^(?:\\[celeryd: [^\\x00]+\\]` +
  `|(?:${python})?${path}celeryd${end}` +
  `|${celery}${skip(valuedOptions)}worker${end})`;

/** Where the processes of a worker are. A relative `--workdir` counts from where the unit starts. */
export function workingDirectoryOf(unit: UnitFact, workdir: string | null): string {
  const spelled = (unit.properties.WorkingDirectory ?? '').replace(/^!/, '');
  const home = unit.workingDirectory ?? (spelled === '' ? '/' : spelled);
  if (workdir === null || workdir === '') return home;
  return isAbsolute(workdir) ? workdir : join(home, workdir);
}

/**
 * Workers of this directory that may be of the app and are not its unit's. Which app they name does
 * not count: one that is not asked may hold a task.
 */
export const otherWorkersIn = (directory: string): WorkerSearch => ({
  directory,
  command: workerCommand,
});
