import type { Repository, RepositoryFile } from '../adapters/repository.ts';
import { formatList } from '../model/quantities.ts';
import { unifiedDiff } from '../plan/text-diff.ts';
import { type ExitCode, exitCodes } from './exit-code.ts';
import { type GivenFlags, refuseFlag } from './flags.ts';
import type { Ask, Terminal } from './terminal.ts';

interface Asker {
  readonly flags: GivenFlags;
  readonly terminal: Terminal;
  /** `null`: nobody can be asked. */
  readonly ask: Ask | null;
}

/**
 * Shows files, and writes them; one that is there and differs only if a person says so.
 *
 * @throws ConfigError when one differs, and nobody can be asked: then none is written
 */
export async function writeProposed(
  files: readonly RepositoryFile[],
  repository: Repository,
  { flags, terminal, ask }: Asker,
): Promise<ExitCode> {
  const isSet = (flag: string): boolean => flags.get(flag) === 'true';
  const show = isSet('json') ? terminal.note : (text: string) => terminal.out(`${text}\n`);
  const changes: (RepositoryFile & { readonly before: string | null })[] = [];
  for (const file of files) {
    const before = await repository.read(file.path);
    if (before === file.text) continue;
    changes.push({ ...file, before });
    show(`\n${unifiedDiff(file.path, before, file.text)}`);
  }
  const names = formatList(files.map(({ path }) => path));
  if (changes.length === 0) show(`\n${names}: up to date, nothing to write`);
  if (changes.length === 0) return exitCodes.done;
  if (isSet('dry-run')) return exitCodes.found;
  const differing = changes.filter(({ before }) => before !== null);
  if (differing.length > 0 && !isSet('force') && ask === null) {
    const there = formatList(differing.map(({ path }) => path));
    refuseFlag(
      'force',
      `${there}: already there, with different content`,
      '`--force` to overwrite, or the file moved away',
    );
  }
  const left = isSet('force') || ask === null ? [] : await declined(differing, ask);
  const chosen = changes.filter(({ path }) => !left.includes(path));
  await repository.write(chosen);
  for (const { path } of chosen) show(`wrote ${path}`);
  for (const path of left) show(`left ${path} as it is`);
  return left.length > 0 ? exitCodes.left : exitCodes.done;
}

/** The files that a person does not want to be replaced. */
async function declined(files: readonly RepositoryFile[], ask: Ask): Promise<readonly string[]> {
  const left: string[] = [];
  for (const { path } of files) {
    const answer = await ask(`Replace ${path}? (yes or no) `);
    if (answer.trim() !== 'yes') left.push(path);
  }
  return left;
}
