import { openGitCode } from '../adapters/git-code.ts';
import type { ReleaseDesired } from '../config/release-desired.ts';
import { ConfigError } from '../model/errors.ts';
import type { CodeOffer, CodeTree, CommitId, LockFile, ReleaseFact } from '../model/release.ts';
import { currentCommitOf } from '../plan/code/commits.ts';
import type { Code, Parcel } from '../ports/code.ts';
import { renderCommitLog } from '../report/commit-log.ts';
import type { About } from './carry-out.ts';

/** What the runner provides for a deploy of code. */
export interface Brought {
  readonly offer: CodeOffer;
  /** Files that the plan's operations need; sent before the plan is applied. */
  readonly parcels: readonly Parcel[];
}

/** The clone of this run: of a workflow, or the folder of a person. */
export const openRunClone = (): Code => openGitCode(process.env.GITHUB_WORKSPACE ?? process.cwd());

/** What the clone of this run provides, and what the report says about it. */
export async function openRunCode(
  desired: ReleaseDesired | null | undefined,
  fact: ReleaseFact,
  runCommit: string,
): Promise<{ readonly offer: CodeOffer | null; readonly about: Partial<About> }> {
  const brought = await offerCode(openRunClone(), desired, fact, runCommit);
  if (brought === null) return { offer: null, about: {} };
  const { offer, parcels } = brought;
  const change = { from: currentCommitOf(fact.tree), to: offer.commit, log: offer.log };
  return { offer, about: { parcels, extra: { details: renderCommitLog(offer) }, code: change } };
}

/**
 * Packs what the host lacks from the run's clone; `null` when no code is deployed.
 *
 * @param runCommit the commit of the run, used unless another one is requested
 * @throws ConfigError when the clone does not contain what is needed
 */
export async function offerCode(
  code: Code,
  desired: ReleaseDesired | null | undefined,
  fact: ReleaseFact | undefined,
  runCommit: string,
): Promise<Brought | null> {
  if (desired === null || desired === undefined || fact === undefined) return null;
  const commit = await code.require(desired.commit ?? runCommit);
  const present = currentCommitOf(fact.tree);
  const sent = await packFor(code, fact.tree, commit);
  const log = present === null || present === commit ? null : await code.log(present, commit);
  const offer: CodeOffer = {
    commit,
    parcel: sent && { sha256: sent.sha256, sizeBytes: sent.sizeBytes },
    log,
    lock: await lockOf(code, desired, commit, present),
  };
  return { offer, parcels: sent === null ? [] : [sent] };
}

/** `null`: the host has the commit, or the plan will reject the tree. */
async function packFor(code: Code, tree: CodeTree, commit: CommitId): Promise<Parcel | null> {
  switch (tree.kind) {
    case 'checkout':
      return tree.known.includes(commit) ? null : code.bundle(commit, tree);
    case 'releases':
      return tree.releases.includes(commit) ? null : code.archive(commit);
    default:
      return null;
  }
}

async function lockOf(
  code: Code,
  { dependencies }: ReleaseDesired,
  commit: CommitId,
  present: CommitId | null,
): Promise<LockFile | null> {
  if (dependencies === null) return null;
  const { file, tool, timeoutSeconds } = dependencies;
  const hash = await code.hashLock(commit, file);
  if (hash === null) {
    throw new ConfigError(
      'input requirements',
      `commit ${commit.slice(0, 7)} does not contain ${file}`,
      'a path relative to the top of the repository, such as backend/requirements.txt',
    );
  }
  const previousHash = present === null ? null : await code.hashLock(present, file);
  return { file, tool, hash, previousHash, timeoutSeconds };
}
