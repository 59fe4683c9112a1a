import type { UnitFact } from '../model/facts/unit.ts';

type Programs = UnitFact['programs'];

/**
 * The Python, with its leading arguments, that runs the Celery of a unit: `['/usr/bin/python3']`.
 * Determined from the effective `ExecStart` (`systemctl show`) and the shebang of its program; `null`
 * when that is not Python, e.g. a shell wrapper.
 */
export function interpreterOf(
  unit: Pick<UnitFact, 'properties' | 'programs'>,
): readonly string[] | null {
  const commands = execCommands(unit.properties.ExecStart ?? '');
  const celery = commands.find((argv) => argv.some((word) => /celery/.test(word)));
  const argv = celery ?? commands[0];
  return argv === undefined ? null : interpreterOfCommand(argv, unit.programs);
}

/**
 * The same for one command line. `programs` contains the shebang of each absolute path in it; the
 * first word may still have systemd's prefixes (`-`, `@`, `:`, `+`, `!`).
 */
export function interpreterOfCommand(
  argv: readonly string[],
  programs: Programs,
): readonly string[] | null {
  const words = withoutEnv([(argv[0] ?? '').replace(/^[-@:+!]+/, ''), ...argv.slice(1)]);
  const [program, ...rest] = words.command;
  if (program === undefined || program === '') return null;
  if (isPython(program)) return [...words.prefix, program, ...leadingFlags(rest)];
  const { shebang, script } = programs[program] ?? { shebang: null };
  if (shebang === null) return null;
  return pythonOfShebang(shebang) ?? pythonOfShellStart(script ?? '');
}

/**
 * A shell script that execs Python on itself: pip writes one when a shebang would be too long
 * (`'''exec' "/long path/python" "$0" "$@"`); so does Debian's /usr/bin/celery (`exec python3 "$0" "$@"`).
 */
function pythonOfShellStart(script: string): readonly string[] | null {
  if (!/^#!\s*\S*\/(?:env\s+)?(?:ba|da)?sh\b/.test(script)) return null;
  const handed = /\bexec'*\s+(?:"([^"\n]+)"|([^\s"']+))\s+"\$0"\s+"\$@"/.exec(script);
  const program = handed?.[1] ?? handed?.[2];
  if (program === undefined || !isPython(program)) return null;
  return program.includes('/') ? [program] : ['/usr/bin/env', program];
}

/** `#!/usr/bin/env -S python3 -E` → `['/usr/bin/env', 'python3', '-E']`; `null`: not Python. */
export function pythonOfShebang(shebang: string): readonly string[] | null {
  const words = shebang
    .replace(/^#!/, '')
    .trim()
    .split(/\s+/)
    .filter((word) => word !== '');
  const { prefix, command } = withoutEnv(words);
  const [program, ...flags] = command;
  return program !== undefined && isPython(program) ? [...prefix, program, ...flags] : null;
}

/**
 * The command lines of an Exec property as `systemctl show` prints it:
 * `{ path=/usr/bin/celery ; argv[]=/usr/bin/celery -A app worker ; ignore_errors=no ; … }`.
 * Arguments are printed unquoted, so only the leading ones can be told apart reliably.
 */
function execCommands(property: string): readonly (readonly string[])[] {
  const pattern = /\{ path=(.*?) ; argv\[\]=(.*?) ; (?:ignore_errors|flags)=/gs;
  return [...property.matchAll(pattern)].map(([, path = '', argv = '']) => [
    path,
    ...argv.split(' ').slice(1),
  ]);
}

/** Keeps `env` before the interpreter, because it looks `python3` up in the unit's PATH. */
function withoutEnv(words: readonly string[]): {
  readonly prefix: readonly string[];
  readonly command: readonly string[];
} {
  const [first, ...rest] = words;
  if (first === undefined || baseName(first) !== 'env') return { prefix: [], command: words };
  // -S splits the single argument of a shebang; these words are already split.
  const split = rest[0] === '-S' ? rest.slice(1) : rest;
  const start = split.findIndex((word) => !/^[A-Za-z_][A-Za-z0-9_]*=/.test(word));
  if (start === -1) return { prefix: words, command: [] };
  return { prefix: [first, ...split.slice(0, start)], command: split.slice(start) };
}

/** Flags of Python before `-m`, `-c` or the script; `-W` and `-X` take a value. */
function leadingFlags(words: readonly string[]): readonly string[] {
  const flags: string[] = [];
  for (let index = 0; index < words.length; index += 1) {
    const word = words[index] ?? '';
    if (!/^-[^-mc]/.test(word)) break;
    const bundledModule = /^-[A-Za-z]+m$/.exec(word);
    if (bundledModule) {
      flags.push(word.slice(0, -1));
      break;
    }
    flags.push(word);
    const value = words[index + 1];
    if ((word === '-W' || word === '-X') && value !== undefined) {
      flags.push(value);
      index += 1;
    }
  }
  return flags;
}

const isPython = (program: string): boolean => /^(?:python|pypy)[0-9.]*$/.test(baseName(program));
const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
