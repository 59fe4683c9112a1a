import { formatCount } from '../../model/quantities.ts';
import { type CheckModule, checkOf, doubtful, fine, type Remark } from '../check.ts';
import { describeLog } from '../logged.ts';

/** Whether the counts of the checks below are those of all that the worker logged. */
export const journal: CheckModule = {
  id: 'journal',
  title: 'journal',
  proves: 'journald reports no dropped line of the worker since the release.',
  doesNotProve:
    'That it dropped none just now: it reports that only once it accepts lines of the unit again.',
  judge({ logged }) {
    const { dropped, complete, entries } = logged;
    const remarks: Remark[] = [fine(describeLog(logged))];
    if (dropped > 0) {
      const seen = `journald dropped ${formatCount(dropped, 'line')}: counts are lower bounds`;
      const next = 'log less, or raise LogRateLimitBurst= of the unit';
      remarks.push(doubtful(seen, 'a journal with every line of the worker', next));
    }
    if (!complete) {
      const seen = `only the newest ${formatCount(entries, 'line')} were read`;
      remarks.push(doubtful(seen, 'fewer lines since the release', 'log less'));
    }
    return checkOf(journal, remarks);
  },
};
