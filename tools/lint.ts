import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

const root = path.join(import.meta.dirname, '..');

interface Linter {
  readonly name: string;
  readonly command: readonly string[];
}

/** The files of the work tree that Git does not ignore. */
function listFiles(): string[] {
  const options = ['ls-files', '--cached', '--others', '--exclude-standard', '-z'];
  const output = execFileSync('git', options, { cwd: root, encoding: 'utf8' });
  const names = new Set(output.split('\0').filter((name) => name !== ''));
  return [...names].filter((name) => existsSync(path.join(root, name))).sort();
}

/** Shell scripts, by their extension, or by their first line if they have none. */
function isShellScript(file: string): boolean {
  if (file.endsWith('.sh')) return true;
  if (path.extname(file) !== '' || /^actions\/[^/]+\/dist\//.test(file)) return false;
  const [first = ''] = readFileSync(path.join(root, file), 'latin1').split('\n', 1);
  return /^#!.*\b(ba|da)?sh\b/.test(first);
}

/**
 * The top-level folders with Python sources; mypy checks each one separately. The frameworks of the
 * examples are not installed here.
 */
function pythonFolders(files: readonly string[]): string[] {
  const sources = files.filter((file) => file.endsWith('.py') && !file.startsWith('examples/'));
  return [...new Set(sources.map((file) => file.split('/')[0] ?? ''))];
}

/** The strictest persona; its exceptions are in .github/zizmor.yml. */
const zizmor = ['--offline', '--no-progress', '--quiet', '--persona', 'auditor'];

function linters(files: readonly string[]): Linter[] {
  // And those of the examples, and the one that `celeriac init` writes.
  const workflows = files.filter((file) =>
    /^(?:(?:examples\/[^/]+\/)?\.github\/workflows|test\/fixtures\/init)\/[^/]+\.ya?ml$/.test(file),
  );
  const actions = files.filter((file) => /^(actions\/[^/]+\/)?action\.yml$/.test(file));
  const biome = path.join(root, 'node_modules', '@biomejs', 'biome', 'bin', 'biome');
  return [
    { name: 'biome', command: [process.execPath, biome, 'check', '--error-on-warnings', '.'] },
    { name: 'unused exports', command: [process.execPath, 'tools/unused-exports.ts'] },
    { name: 'shellcheck', command: ['shellcheck', '-x', ...files.filter(isShellScript)] },
    { name: 'ruff', command: ['ruff', 'check', '.'] },
    { name: 'ruff format', command: ['ruff', 'format', '--diff', '.'] },
    ...pythonFolders(files).map((folder) => ({
      name: `mypy ${folder}`,
      command: ['mypy', folder],
    })),
    {
      name: 'vermin',
      command: ['vermin', '--target=3.8-', '--violations', '--no-tips', '--quiet', 'host'],
    },
    { name: 'privileges', command: ['python3', 'tools/privileges.py'] },
    { name: 'docs', command: [process.execPath, 'tools/docs.ts', '--check'] },
    { name: 'actionlint', command: ['actionlint', ...workflows] },
    {
      name: 'zizmor',
      command: ['zizmor', ...zizmor, ...workflows, ...actions, '.github/dependabot.yml'],
    },
  ];
}

/** Runs a linter; prints its output only if it fails. */
function run({ name, command: [program = '', ...options] }: Linter): boolean {
  const result = spawnSync(program, options, { cwd: root, encoding: 'utf8' });
  const ok = result.status === 0;
  console.log(`${ok ? 'ok    ' : 'FAILED'} ${name}`);
  if (!ok)
    console.log(`${result.stdout ?? ''}${result.stderr ?? ''}${result.error?.message ?? ''}`);
  return ok;
}

const failed = linters(listFiles()).filter((linter) => !run(linter));
process.exitCode = failed.length > 0 ? 1 : 0;
