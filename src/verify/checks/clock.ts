import { formatDuration } from '../../model/quantities.ts';
import { type CheckModule, checkOf, doubtful, fine, unknownCheck, wrong } from '../check.ts';

const warnSeconds = 30;
const failSeconds = 120;

/** The clock of the host against that of the runner. */
export const clock: CheckModule = {
  id: 'clock',
  title: 'clock of the host',
  proves:
    'The clock of the host and that of the runner differ by less than 2 min, taking the response time into account.',
  doesNotProve: 'That either of them is right.',
  judge({ clockSkew }) {
    if (clockSkew === null) return unknownCheck(clock, 'it was not compared');
    const { ahead, within } = clockSkew;
    const off = Math.abs(ahead);
    // What is certain.
    const least = off - within;
    const way = ahead > 0 ? 'ahead of' : 'behind';
    const about = `${formatDuration(off)} ${way} the runner's, ± ${formatDuration(within)}`;
    const seen = off <= within ? `as the runner's, ± ${formatDuration(within)}` : about;
    const expected = 'the same time as on the runner';
    const next = 'check `timedatectl` on the host: turn on NTP';
    if (least > failSeconds) return checkOf(clock, [wrong(seen, expected, next)]);
    if (least > warnSeconds) return checkOf(clock, [doubtful(seen, expected, next)]);
    if (off + within > failSeconds) {
      return unknownCheck(clock, `the answer took too long to tell: ± ${formatDuration(within)}`);
    }
    return checkOf(clock, [fine(seen)]);
  },
};
