import type { InstallDependencies } from '../../model/operation/code.ts';
import type { CodeOffer, ReleaseFact } from '../../model/release.ts';
import { short } from './commits.ts';
import type { ReleaseContext } from './release-plan.ts';

export interface Dependencies {
  readonly operations: readonly InstallDependencies[];
  readonly reasons: readonly string[];
  readonly satisfied: readonly string[];
}

export function planDependencies(
  { installed }: ReleaseFact,
  { commit, lock }: CodeOffer,
  context: ReleaseContext,
  where: { readonly checkout: string } | { readonly release: string },
  interpreter: readonly string[],
): Dependencies {
  if (lock === null) return { operations: [], reasons: [], satisfied: [] };
  const { file, tool, hash, previousHash, timeoutSeconds } = lock;
  const own =
    installed !== null && installed.interpreter.join('\0') === interpreter.join('\0')
      ? installed.lock
      : null;
  // Without a record of Celeriac, the file at the host's commit counts as installed.
  if ((own ?? previousHash) === hash) {
    return { operations: [], reasons: [], satisfied: [`dependencies: ${file} is unchanged`] };
  }
  const why =
    own !== null
      ? 'it differs from the one that was installed last'
      : previousHash === null
        ? 'the installed one is unknown'
        : 'it changed with the code';
  return {
    operations: [
      {
        op: 'install-dependencies',
        unit: context.unit,
        user: context.user,
        interpreter,
        tool,
        file,
        commit,
        lock: hash,
        timeoutSeconds,
        ...where,
        title: `install ${file} of ${short(commit)} with ${tool}`,
        why,
      },
    ],
    reasons: [`${file} changes`],
    satisfied: [],
  };
}
