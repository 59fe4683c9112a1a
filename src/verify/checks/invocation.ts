import { formatInstant } from '../../report/quantities.ts';
import { type CheckModule, checkOf, doubtful, fine, unknownCheck } from '../check.ts';
import { latest } from '../evidence.ts';

const shownDigits = 8;

/** Whether all that was seen is of one run of the unit. */
export const invocation: CheckModule = {
  id: 'invocation',
  title: 'one run of the unit',
  proves:
    'The unit was not started anew between the first look and the last, by whomever, and systemd holds no failure against this run.',
  doesNotProve:
    'That nobody restarted it before: `unit` shows since when it runs. A new start is a warning, as it may be one by `needrestart`; those by systemd itself fail in `restarts`.',
  judge(seen) {
    const { unit } = latest(seen);
    const id = unit.properties.InvocationID ?? '';
    const first = seen.before.unit.properties.InvocationID ?? '';
    if (unit.activeState !== 'active') return unknownCheck(invocation, 'the unit is not running');
    if (id === '' || first === '') {
      return unknownCheck(invocation, 'systemd does not report the run (InvocationID)');
    }
    const since = unit.activeSince === null ? '' : ` since ${formatInstant(unit.activeSince)}`;
    const remarks = [];
    if (id === first) {
      remarks.push(fine(`run ${id.slice(0, shownDigits)}${since}`));
    } else {
      const said = `started anew during the gate: run ${first.slice(0, shownDigits)} became ${id.slice(0, shownDigits)}`;
      const next = `run \`journalctl -u ${unit.name}\` on the host to see who restarted it`;
      // Whoever restarts it meanwhile, such as needrestart, says nothing against the release.
      remarks.push(doubtful(said, 'one run from the first look on', next));
    }
    const result = unit.properties.Result ?? '';
    if (result !== '' && result !== 'success') {
      remarks.push(
        doubtful(`result ${result}`, 'result success', `\`systemctl status ${unit.name}\``),
      );
    }
    return checkOf(invocation, remarks);
  },
};
