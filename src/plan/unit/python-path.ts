import type { WorkerLine } from '../../celery/worker-line.ts';
import { type ExecWord, quoteWord, splitWords } from '../../systemd/exec-line.ts';
import { anySupportFolder, isSupportFolder } from '../../systemd/support-module.ts';
import type { Assignment, Splice } from '../../systemd/unit-entry.ts';
import type { UnitFile } from '../../systemd/unit-file.ts';
import { neighbours } from './unit-settings.ts';

/**
 * Brings the support module's folder into every PYTHONPATH that the command line sets: `env
 * PYTHONPATH=… celery` overrides Environment=, and so does an assignment in a shell.
 */
export function extendEnv(line: WorkerLine, directory: string): readonly Splice[] {
  return settersOf(line)
    .filter(({ text }) => !holds(text, directory))
    .map((word) => {
      const { text, start, end } = word;
      if (line.shell === 'none') return { start, end, text: quoteWord(extend(text, directory)) };
      const old = ownFolder.exec(line.entry.value.slice(start, end));
      const at = old === null ? end : start + old.index;
      return old === null
        ? { start: end, end, text: extend('', directory) }
        : { start: at, end: at + old[0].length, text: written(directory) };
    });
}

/**
 * Where Environment= is overridden, the command line sets PYTHONPATH itself, so that nothing comes
 * after it (docs/decisions/013-a-module-that-nothing-hides.md). The app's own folders stay: systemd, or
 * the shell, puts the PYTHONPATH that would have been in force behind the module's folder.
 *
 * @param whole the unit with all its drop-ins
 */
export function setByEnv(line: WorkerLine, whole: UnitFile, directory: string): readonly Splice[] {
  const left = leftWhereOverridden(line, whole);
  if (left === null) return [];
  const { words, entry, shell } = line;
  const inherited = shell === 'none' ? `:\${PYTHONPATH}` : ':$$PYTHONPATH';
  const assignment = `${pythonPathIs}${written(directory)}${left === 'nothing' ? '' : inherited}`;
  const [first] = words;
  if (!first) return [];
  const env = /(?:^|\/)env$/.test(first.text) ? endOfEnv(words) : null;
  if (env) return [{ start: env.start, end: env.start, text: `${assignment} ` }];
  const prefixes = shell === 'none' ? prefixesOf(entry.value.slice(first.start)) : '';
  // env knows no argv[0], cannot expand without systemd, and searches other folders for a bare name.
  const isFixed = shell === 'none' && (/[@:]/.test(prefixes) || !first.text.includes('/'));
  if (isFixed) return [];
  const [start, end] = [first.start, first.start + prefixes.length];
  return [{ start, end, text: `${prefixes}/usr/bin/env ${assignment} ` }];
}

/** What is left of PYTHONPATH where Environment= is overridden; `null`: it is not. */
function leftWhereOverridden(line: WorkerLine, whole: UnitFile): 'unknown' | 'nothing' | null {
  const wrapper = line.words.slice(0, line.call.wrapper.length).map(({ text }) => text);
  if (wrapper.some((text) => text.startsWith(pythonPathIs))) return null;
  if (/(?:^|\/)env (?:\S+ )*(?:-i?|-u PYTHONPATH)(?: |$)/.test(wrapper.join(' '))) return 'nothing';
  if (line.shell !== 'none' && sourced.test(line.entry.value)) return 'unknown';
  if (settersOf(line).length > 0) return null;
  const isUnset = whole
    .effective('Service', 'UnsetEnvironment')
    .flatMap(({ value }) => splitWords(value) ?? [])
    .some(({ text }) => /^PYTHONPATH(?:=|$)/.test(text));
  if (isUnset) return 'nothing';
  const values = (key: string) => whole.effective('Service', key).map(({ value }) => value);
  // systemd ignores a path that is not absolute.
  const isRead = values('EnvironmentFile').some((path) => /^-?[/%]/.test(path));
  return isRead || values('PAMName').some((name) => name !== '') ? 'unknown' : null;
}

/** The assignments of PYTHONPATH on the command line. */
function settersOf(line: WorkerLine): readonly ExecWord[] {
  const inner = line.shell === 'none' ? [] : line.words.slice(0, line.call.wrapper.length);
  return [...line.assignments, ...inner].filter(({ text }) => text.startsWith(pythonPathIs));
}

/** The first word after `env`, its options and its assignments. */
function endOfEnv(words: readonly ExecWord[]): ExecWord | null {
  let at = 1;
  for (;;) {
    const text = words[at]?.text ?? '';
    if (text === '-u' || text === '-C') at += 2;
    else if (/^(?:-|[A-Za-z_][A-Za-z0-9_]*=)/.test(text)) at += 1;
    else return words[at] ?? null;
  }
}

const prefixesOf = (command: string): string => /^[-@:+!|]*/.exec(command)?.[0] ?? '';

/** A file that a shell script reads into its own environment. */
const sourced = /(?:^|[\s;&'"])(?:\.|source)\s+\S/;

const ownFolder = new RegExp(`${anySupportFolder}(?![\\w./-])`);

const pythonPathIs = 'PYTHONPATH=';

/** In a unit file, a `%` of the directory is doubled. */
export const written = (directory: string): string => directory.replaceAll('%', '%%');

const foldersOf = (assignment: string): readonly string[] => {
  const value = assignment.slice(pythonPathIs.length);
  return value === '' ? [] : value.split(':');
};

/** Whether a PYTHONPATH has this folder, and that of no other version of the module. */
export function holds(assignment: string, directory: string): boolean {
  const folders = foldersOf(assignment);
  const own = written(directory);
  return folders.includes(own) && !folders.some((one) => one !== own && isSupportFolder(one));
}

/** Adds the folder in place of those of other versions, else at the end. */
function extend(assignment: string, directory: string): string {
  if (assignment === '') return `:${written(directory)}`;
  const folders = foldersOf(assignment);
  const own = written(directory);
  const isOwn = (folder: string): boolean => folder === own || isSupportFolder(folder);
  const at = folders.findIndex(isOwn);
  const others = folders.map((folder, index) => (index === at ? own : folder));
  const kept = others.filter((folder, index) => index === at || !isOwn(folder));
  return pythonPathIs + (at === -1 ? [...kept, own] : kept).join(':');
}

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
