import type { VerifyDesired } from '../../config/verify-desired.ts';
import type { HttpAnswer, HttpProbe } from '../../model/facts.ts';
import type { Check } from '../../model/verdict.ts';
import { formatCount, formatDuration } from '../../report/quantities.ts';
import { showUrl } from '../../systemd/secrets.ts';
import { checkOf, doubtful, fine, skippedCheck, wrong } from '../check.ts';
import type { StuckSearch, VerifyFacts } from '../evidence.ts';

/** One check for each HTTP probe: a status of 200 to 299. */
export function checkProbes({ http }: VerifyFacts, desired: VerifyDesired): readonly Check[] {
  return desired.probes.map((probe, index) => checkProbe(probe, http[index]));
}

function checkProbe(probe: HttpProbe, answer: HttpAnswer | undefined): Check {
  const title = `GET ${showUrl(probe.url)}`;
  const expected = 'a status of 200 to 299';
  if (answer === undefined || answer.status === null) {
    const problem = answer?.error ?? 'no request was made';
    const next = 'check that the service listens at this address on the host';
    return checkOf('http', title, [wrong(`no answer: ${problem}`, expected, next)]);
  }
  const seen = `${answer.status} in ${formatDuration(answer.seconds)}`;
  if (answer.status >= 200 && answer.status <= 299) return checkOf('http', title, [fine(seen)]);
  const word = answer.status === 503 ? `${seen}: degraded` : seen;
  const body = answer.body.split('\n').filter((line) => line.trim() !== '');
  return checkOf('http', title, [wrong(word, expected, 'check the response body')], body);
}

/** Jobs that have been in progress for longer than the threshold. */
export function checkStuckRows(search: StuckSearch, desired: VerifyDesired): Check {
  const title = 'stuck jobs';
  if (search.kind === 'not-read') {
    return skippedCheck('stuck-jobs', title, `not read: ${search.why}`);
  }
  const stuck = search.rows.filter(({ count }) => count > 0);
  const threshold = formatDuration(desired.thresholdSeconds);
  if (stuck.length === 0) {
    return checkOf('stuck-jobs', title, [fine(`none older than ${threshold}`)]);
  }
  const total = stuck.reduce((sum, { count }) => sum + count, 0);
  const evidence = stuck.map(({ table, count, oldestAgeSeconds, sampleIds }) => {
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
  return checkOf('stuck-jobs', title, [remark(seen, expected, next)], evidence);
}

function describeInherited(inherited: number, total: number): string {
  if (inherited === 0) return '';
  const which = inherited < total ? `${inherited} of them ` : total === 1 ? '' : 'all ';
  return `, ${which}stuck since before this release`;
}
