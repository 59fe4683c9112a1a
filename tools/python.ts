import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { makeScratch } from './scratch.ts';

/**
 * Runs the tests of the host program on each Python that tools/setup.sh chose, in parallel:
 * `[--reports FOLDER] [--every-line]`, then arguments for pytest. A report is a JUnit file named after
 * its Python; `--every-line` interrupts work before every line (see host/tests/cuts.py).
 */

const root = path.join(import.meta.dirname, '..');
/** The oldest supported Python of a host. */
const oldestSupported = '3.8.';

/**
 * Large pages for the memory of pytest: it is forked thousands of times, and most of a fork is the
 * copy of its page table. Without them in the kernel or in the C library, nothing changes.
 */
const largePages = ['PYTHONMALLOC=malloc', 'GLIBC_TUNABLES=glibc.malloc.hugetlb=1'];

function takeReports(words: string[]): string | undefined {
  const at = words.indexOf('--reports');
  return at === -1 ? undefined : words.splice(at, 2)[1];
}

function takeFlag(words: string[], flag: string): boolean {
  const at = words.indexOf(flag);
  return at !== -1 && words.splice(at, 1).length > 0;
}

function versionOf(python: string): string {
  const program = 'import platform; print(platform.python_version())';
  return spawnSync(python, ['-I', '-c', program], { encoding: 'utf8' }).stdout.trim();
}

/** Root is needed by tests that mount and fill a disk, or switch users. */
function asRoot(command: readonly string[]): readonly string[] {
  if (process.getuid?.() === 0) return command;
  if (spawnSync('sudo', ['-n', 'true']).status !== 0) return command;
  return ['sudo', '-n', 'env', 'PYTHONDONTWRITEBYTECODE=1', ...command];
}

/** Returns whether it passed. Prints the output at the end, so that runs do not mix. */
async function run(
  python: string,
  words: readonly string[],
  reports: string | undefined,
): Promise<boolean> {
  const version = versionOf(python);
  const folder = makeScratch();
  const [program = '', ...options] = asRoot([
    ...['env', `TMPDIR=${folder}`, ...largePages],
    ...(everyLine ? ['CELERIAC_CUT_EVERY_LINE=1'] : []),
    ...[python, '-m', 'pytest', `--basetemp=${path.join(folder, 'tests')}`],
    ...(process.stdout.isTTY ? ['--color=yes'] : []),
    ...(reports === undefined ? [] : [`--junitxml=${path.join(reports, `${version}.xml`)}`]),
    ...words,
  ]);
  const started = spawn(program, options, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
  const [output, [code]] = await Promise.all([text(started.stdout), once(started, 'exit')]);
  console.log(`Python ${version}\n${output}`);
  const [remove = '', ...paths] = asRoot(['rm', '-rf', '--', folder]);
  spawnSync(remove, paths);
  return code === 0;
}

const words = process.argv.slice(2);
const reports = takeReports(words);
const everyLine = takeFlag(words, '--every-line');
if (reports !== undefined) mkdirSync(reports, { recursive: true });
const pythons = (process.env.CELERIAC_PYTEST_PYTHONS ?? '')
  .split(':')
  .filter((each) => each !== '');
if (!pythons.some((python) => versionOf(python).startsWith(oldestSupported))) {
  console.log(
    `Python ${oldestSupported}x is not installed: only vermin (npm run lint) checks compatibility with it`,
  );
}
const good = await Promise.all(pythons.map((python) => run(python, words, reports)));
process.exitCode = good.length > 0 && good.every((each) => each) ? 0 : 1;
