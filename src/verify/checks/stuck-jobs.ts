import { formatCount, formatDuration } from '../../model/quantities.ts';
import { type CheckModule, checkOf, doubtful, fine, unknownCheck, wrong } from '../check.ts';

/** Jobs that have been in progress for longer than the threshold. */
export const stuckJobs: CheckModule = {
  id: 'stuck-jobs',
  title: 'stuck jobs',
  proves:
    'No job in the tables of the app has been in progress without a sign of life for longer than `threshold`.',
  doesNotProve: 'Anything about jobs that are not in a table.',
  judge(evidence, desired) {
    const search = evidence.stuck;
    if (search.kind === 'not-read') {
      return unknownCheck(stuckJobs, `not read: ${search.why}`);
    }
    const stuck = search.rows.filter(({ count }) => count > 0);
    const threshold = formatDuration(desired.thresholdSeconds);
    if (stuck.length === 0) {
      return checkOf(stuckJobs, [fine(`none older than ${threshold}`)]);
    }
    const total = stuck.reduce((sum, { count }) => sum + count, 0);
    const lines = stuck.map(({ table, count, oldestAgeSeconds, sampleIds }) => {
      const more = count > sampleIds.length ? ', …' : '';
      const ids = sampleIds.length === 0 ? '' : `: ${sampleIds.join(', ')}${more}`;
      return `${table}: ${formatCount(count, 'row')}, oldest ${formatDuration(oldestAgeSeconds)}${ids}`;
    });
    const inherited = stuck.reduce((sum, each) => sum + each.inherited, 0);
    const places = stuck.map(({ table }) => table).join(', ');
    const seen = `${formatCount(total, 'row')} in ${places}${describeInherited(inherited, total)}`;
    const expected = `none older than ${threshold}`;
    const next = 'run cleanup, first with dry-run';
    // What stood still before the release says nothing about its worker.
    const remark = inherited === total ? doubtful : wrong;
    return checkOf(stuckJobs, [remark(seen, expected, next)], lines);
  },
};

function describeInherited(inherited: number, total: number): string {
  if (inherited === 0) return '';
  const which = inherited < total ? `${inherited} of them ` : total === 1 ? '' : 'all ';
  return `, ${which}stuck since before this release`;
}
