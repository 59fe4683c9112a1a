import type { UnitFact } from '../model/facts/unit.ts';
import { splitWords } from '../systemd/exec-line.ts';
import type { UnitFile } from '../systemd/unit-file.ts';
import { findCeleryCall } from './celery-call.ts';
import { atHome, isHidden, resolveIn, type Scene } from './shell-scene.ts';

/** The program of a worker as its line names it, and where it is looked up. */
export interface ProgramPlace {
  /** With variables replaced; a path, or a bare name. */
  readonly word: string;
  readonly scene: Scene;
}

/** Where systemd looks up a program that is a bare name. */
const fixedPath = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** What a command of the unit finds, before any shell: the directory, the variables, the path. */
export function sceneOf(file: UnitFile): Scene {
  const written = (file.value('Service', 'WorkingDirectory') ?? '').replace(/^-/, '');
  const directory = written === '~' ? '$HOME' : written === '' ? '/' : written;
  // A file of variables beats Environment=, and only the host can read it.
  const isWhole = file.values('Service', 'EnvironmentFile').length === 0;
  const words = isWhole
    ? file.values('Service', 'Environment').flatMap((value) => splitWords(value) ?? [])
    : [];
  const literal = words
    .map(({ text }) => text)
    .filter((text) => /^[A-Za-z_][A-Za-z0-9_]*=[^$%]*$/.test(text))
    .map((text): [string, string] => {
      const equals = text.indexOf('=');
      return [text.slice(0, equals), text.slice(equals + 1)];
    });
  const variables = new Map(literal);
  variables.delete('PATH');
  return { directory, variables, path: ['$PATH'], hiddenBy: null };
}

/** Where systemd itself looks a bare name up: not in PATH. */
export function ownSearchPath(file: UnitFile): readonly string[] {
  const own = file.values('Service', 'ExecSearchPath').flatMap((value) => value.split(':'));
  return own.length > 0 ? own : fixedPath;
}

export type ProgramLocation =
  | { readonly kind: 'known'; readonly path: string }
  /** The host does not have it. */
  | { readonly kind: 'missing'; readonly program: string }
  | { readonly kind: 'hidden'; readonly from: string };

/** The absolute path of the program, as far as the unit and the facts about its host show it. */
export function locateProgram(place: ProgramPlace, unit: UnitFact): ProgramLocation {
  const { candidates, hidden } = candidatesOf(place, unit);
  const [first = ''] = candidates;
  const found = candidates.find((path) => unit.programs[path]?.exists);
  if (found !== undefined) return { kind: 'known', path: found };
  if (candidates.some((path) => unit.programs[path] === undefined)) {
    // Which of several it is was not asked; none is made up.
    return candidates.length === 1
      ? { kind: 'known', path: first }
      : { kind: 'hidden', from: `${place.word}, looked up in PATH,` };
  }
  if (hidden !== null) return { kind: 'hidden', from: hidden };
  const program = candidates.length === 1 ? first : place.word;
  return { kind: 'missing', program };
}

/** The paths that decide which program it is, in the order in which they are tried. */
export function candidatesOf(
  { word, scene }: ProgramPlace,
  unit: UnitFact,
): { readonly candidates: readonly string[]; readonly hidden: string | null } {
  const { HOME: home, PATH: path } = unit.variables ?? {};
  const known = (text: string): string => atHome(named(text, unit.name), home);
  if (word.includes('/')) {
    const whole = known(resolveIn(scene.directory, word));
    return isAbsolute(whole)
      ? { candidates: [literal(whole)], hidden: null }
      : { candidates: [], hidden: word };
  }
  if (isHidden(word)) return { candidates: [], hidden: word };
  const candidates: string[] = [];
  for (const folder of scene.path) {
    const folders = folder === '$PATH' ? (path?.split(':') ?? fixedPath) : [folder];
    for (const one of folders.map(known)) {
      if (one === '$HOME' || one.startsWith('$HOME/') || (isHidden(one) && folder !== '$PATH')) {
        return { candidates, hidden: `PATH=${one}` };
      }
      if (isAbsolute(one)) candidates.push(literal(`${one.replace(/\/$/, '')}/${word}`));
    }
  }
  return { candidates: [...new Set(candidates)], hidden: scene.hiddenBy };
}

const isAbsolute = (path: string): boolean => path.startsWith('/') && !isHidden(path);

/** The specifiers that the unit's name shows: `%i` of an instance. */
function named(text: string, unit: string): string {
  const name = unit.replace(/\.service$/, '');
  const [prefix = '', instance = ''] = name.split(/@(.*)/s);
  const values: Readonly<Record<string, string>> = {
    n: unit,
    N: name,
    p: prefix,
    i: instance,
    j: prefix.slice(prefix.lastIndexOf('-') + 1),
  };
  return text.replace(/%([%nNpij])/g, (whole, letter: string) => values[letter] ?? whole);
}

const literal = (path: string): string => path.replaceAll('%%', '%');

/**
 * The Python of the worker that is running now: from its arguments, while systemd has not been given
 * another definition. `null`: they do not show it.
 */
export function runningPython(unit: UnitFact, app: string | null): readonly string[] | null {
  if (unit.needDaemonReload || unit.activeState !== 'active') return null;
  for (const { argv } of unit.processes) {
    const found = findCeleryCall(argv);
    const [program = ''] = argv;
    if (found.kind !== 'found' || !program.startsWith('/')) continue;
    if (!/^(?:python|pypy)[0-9.]*$/.test(program.slice(program.lastIndexOf('/') + 1))) continue;
    if (app === null || found.call.app === app) return [program];
  }
  return null;
}
