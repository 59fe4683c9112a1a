import type { CodeOffer } from '../model/release.ts';
import { toOneLine } from './escape.ts';
import { formatCount } from './quantities.ts';
import type { SummaryDetail } from './summary.ts';

/** The commits of a deploy, as a folded part of the summary; none when they are not known. */
export function renderCommitLog(offer: CodeOffer | null): readonly SummaryDetail[] {
  const log = offer?.log ?? null;
  if (log === null || log.count === 0) return [];
  const lines = log.subjects.map(toOneLine);
  const more = log.count - lines.length;
  const verb = log.direction === 'back' ? 'taken back' : 'deployed';
  return [
    {
      title: `${formatCount(log.count, 'commit')} ${verb}`,
      text: [...lines, ...(more > 0 ? [`and ${more} more`] : [])].join('\n'),
    },
  ];
}
