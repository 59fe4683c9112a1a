import type { HttpAnswer, HttpProbe } from '../../model/facts/probe.ts';
import { formatDuration } from '../../model/quantities.ts';
import type { Check } from '../../model/verdict.ts';
import { showUrl } from '../../systemd/secrets.ts';
import { type CheckModule, checkOf, fine, wrong } from '../check.ts';
import { latest } from '../evidence.ts';

/** One check for each HTTP probe: a status of 200 to 299. */
export const http: CheckModule = {
  id: 'http',
  title: 'HTTP probes',
  proves:
    'Each URL of `http-probes`, requested from the host, answers with a status of 200 to 299.',
  doesNotProve: 'That it can be reached from anywhere else.',
  judge(seen, desired) {
    const { http: answers } = latest(seen);
    return desired.probes.map((probe, index) => checkProbe(probe, answers[index]));
  },
};

function checkProbe(probe: HttpProbe, answer: HttpAnswer | undefined): Check {
  const named = { id: http.id, title: `GET ${showUrl(probe.url)}` };
  const expected = 'a status of 200 to 299';
  if (answer?.kind !== 'answered') {
    const problem = answer?.error ?? 'no request was made';
    const next = 'check that the service listens at this address on the host';
    return checkOf(named, [wrong(`no answer: ${problem}`, expected, next)]);
  }
  const seen = `${answer.status} in ${formatDuration(answer.seconds)}`;
  if (answer.status >= 200 && answer.status <= 299) return checkOf(named, [fine(seen)]);
  const word = answer.status === 503 ? `${seen}: degraded` : seen;
  const body = answer.body.split('\n').filter((line) => line.trim() !== '');
  return checkOf(named, [wrong(word, expected, 'check the response body')], body);
}
