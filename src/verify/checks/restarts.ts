import { formatCount } from '../../model/quantities.ts';
import { type CheckModule, checkOf, fine, lastLines, unknownCheck, wrong } from '../check.ts';
import { latest } from '../evidence.ts';
import { atMost, shownTail } from '../unit-values.ts';

/** NRestarts: restarts by systemd itself since the last start by hand or deploy. */
export const restarts: CheckModule = {
  id: 'restarts',
  title: 'restarts',
  proves:
    'systemd itself restarted the unit no more often than allowed since its last start by hand or by a deploy.',
  doesNotProve: 'That nobody else restarted it: such a restart resets the count.',
  judge(evidence, desired) {
    const { unit, journal } = latest(evidence);
    const text = unit.properties.NRestarts ?? '';
    if (!/^\d+$/.test(text)) {
      return unknownCheck(restarts, 'systemd does not report NRestarts');
    }
    const count = Number(text);
    const seen = count === 0 ? 'none' : formatCount(count, 'restart');
    if (count <= desired.maxRestarts) return checkOf(restarts, [fine(seen)]);
    const next = `run \`journalctl -u ${unit.name}\` on the host to see why it exited`;
    return checkOf(
      restarts,
      [wrong(seen, atMost(desired.maxRestarts), next)],
      // The lines of the worker are those of the run that follows.
      journal.ends.length > 0
        ? ['systemd said:', ...journal.ends]
        : lastLines(journal.tail, shownTail),
    );
  },
};
