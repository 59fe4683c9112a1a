import { formatDuration } from '../../model/quantities.ts';
import { type CheckModule, checkOf, doubtful, fine, lastLines, wrong } from '../check.ts';
import { latest } from '../evidence.ts';
import { notifies, shownTail } from '../unit-values.ts';

/** Active and running; with Type=notify this means that the worker reported ready. */
export const unit: CheckModule = {
  id: 'unit',
  title: 'unit',
  proves:
    'The unit is active and running, reported ready if its Type is notify, and systemd runs what its file says.',
  doesNotProve: 'That it receives or finishes any task.',
  judge(seen) {
    const { unit, host, journal } = latest(seen);
    const named = { id: 'unit', title: unit.name };
    const state = `${unit.activeState} (${unit.subState})`;
    const runs = unit.activeState === 'active' && unit.subState === 'running';
    const journalCommand = `run \`journalctl -u ${unit.name}\` on the host`;
    if (!runs) {
      const result = unit.properties.Result ?? '';
      const seen = result === '' || result === 'success' ? state : `${state}, result ${result}`;
      return checkOf(
        named,
        [wrong(seen, 'active (running)', `${journalCommand}, fix the cause and deploy again`)],
        lastLines(journal.tail, shownTail),
      );
    }
    const since =
      unit.activeSince === null ? '' : ` for ${formatDuration(host.now - unit.activeSince)}`;
    const ready = notifies(unit) ? ', reported ready (Type=notify)' : '';
    const remarks = [fine(`${state}${since}${ready}`)];
    if (unit.needDaemonReload) {
      const next = 'deploy again, or `systemctl daemon-reload` and restart';
      remarks.push(
        doubtful(
          'unit file changed since systemd loaded it',
          'the loaded unit to match its file',
          next,
        ),
      );
    }
    return checkOf(named, remarks);
  },
};
