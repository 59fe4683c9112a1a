import { formatCount } from '../model/quantities.ts';
import type { CodeOffer } from '../model/release.ts';
import { toOneLine } from './escape.ts';
import type { SummaryDetail } from './summary.ts';

/** The commits of a deploy, as a collapsed section of the summary; empty when they are unknown. */
export function renderCommitLog(offer: CodeOffer | null): readonly SummaryDetail[] {
  const log = offer?.log ?? null;
  if (log === null || log.count === 0) return [];
  const lines = log.subjects.map(toOneLine);
  const more = log.count - lines.length;
  // Also shown by a dry run, and of a release that failed.
  const whose = log.direction === 'back' ? 'that this deploy undoes' : 'of this deploy';
  return [
    {
      title: `${formatCount(log.count, 'commit')} ${whose}`,
      text: [...lines, ...(more > 0 ? [`and ${more} more`] : [])].join('\n'),
    },
  ];
}
