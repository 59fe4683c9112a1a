import type { VerifyDesired } from '../../config/verify-desired.ts';
import type { Check } from '../../model/verdict.ts';
import { formatCount, formatInstant } from '../../report/quantities.ts';
import { checkOf, doubtful, fine, wrong } from '../check.ts';
import type { VerifyFacts } from '../evidence.ts';
import { errorLines, isRateLimitLine, type JournalLine } from '../journal-lines.ts';
import { atMost } from './unit.ts';

/** Responses with status 429 in the journal since the unit's start. */
export function checkRateLimits({ journal }: VerifyFacts, desired: VerifyDesired): Check {
  const lines = journal.suspects.filter(({ message }) => isRateLimitLine(message));
  const seen = seenIn(journal.entries, lines.length);
  const title = 'HTTP 429 responses';
  if (lines.length <= desired.max429) return checkOf('rate-limits', title, [fine(seen)]);
  const next = 'lower the concurrency or the request rate; max-429 sets how many are tolerated';
  return checkOf('rate-limits', title, [wrong(seen, atMost(desired.max429), next)], show(lines));
}

/** Errors and tracebacks in the journal since the unit's start. */
export function checkErrors({ journal }: VerifyFacts, desired: VerifyDesired): Check {
  const lines = errorLines(journal.suspects);
  const seen = seenIn(journal.entries, lines.length);
  const allowed = desired.maxErrors;
  if (lines.length === 0 || (allowed !== null && lines.length <= allowed)) {
    return checkOf('errors', 'errors in the journal', [fine(seen)], show(lines));
  }
  const next = 'check these errors; max-errors sets how many are tolerated';
  const remark =
    allowed === null ? doubtful(seen, 'none', next) : wrong(seen, atMost(allowed), next);
  return checkOf('errors', 'errors in the journal', [remark], show(lines));
}

/** journald drops lines under load, so a count is a lower bound; the number of lines is shown too. */
function seenIn(entries: number, found: number): string {
  const total = `in ${formatCount(entries, 'line')} since the start`;
  return found === 0 ? `none ${total}` : `${found} ${total}`;
}

const show = (lines: readonly JournalLine[]): readonly string[] =>
  lines.map(({ at, message }) => `${formatInstant(at)} ${message}`);
