import { formatCount } from '../../model/quantities.ts';
import type { CodeTree, CommitId, CommitLog } from '../../model/release.ts';

/** The current commit of a tree, if it has one. */
export function currentCommitOf(tree: CodeTree): CommitId | null {
  switch (tree.kind) {
    case 'checkout':
      return tree.head;
    case 'releases':
      return (
        /(?:^|\/)releases\/([0-9a-f]{40}|[0-9a-f]{64})\/?$/.exec(tree.current ?? '')?.[1] ?? null
      );
    default:
      return null;
  }
}

/** `abc1234 → def5678, 3 commits`. */
export function describeStep(from: CommitId | null, to: CommitId, log: CommitLog | null): string {
  const step = `${from === null ? 'none' : short(from)} → ${short(to)}`;
  if (log === null) return step;
  const commits = formatCount(log.count, 'commit');
  switch (log.direction) {
    case 'forward':
      return `${step}, ${commits}`;
    case 'back':
      return `${step}, ${commits} back`;
    case 'aside':
      return `${step}, ${commits} on another line of history`;
  }
}

export const short = (commit: CommitId): string => commit.slice(0, 7);
