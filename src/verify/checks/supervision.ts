import { formatDuration } from '../../model/quantities.ts';
import { parseTimeSpan } from '../../systemd/values.ts';
import { type CheckModule, checkOf, doubtful, fine, wrong } from '../check.ts';
import { latest } from '../evidence.ts';
import { notifies } from '../unit-values.ts';

/** Restart= and a working watchdog. */
export const supervision: CheckModule = {
  id: 'supervision',
  title: 'restart and watchdog',
  proves: 'systemd restarts a worker that exits, and one that hangs.',
  doesNotProve: 'That the watchdog is fed: see `watchdog`.',
  judge(seen) {
    const { unit } = latest(seen);
    const restart = unit.properties.Restart ?? '';
    const watchdog = parseTimeSpan(unit.properties.WatchdogUSec ?? '0') ?? 0;
    const remarks = [
      restart === '' || restart === 'no'
        ? doubtful('Restart=no', 'Restart=always', 'set Restart=always in the unit')
        : fine(`Restart=${restart}`),
    ];
    if (watchdog === 0 || watchdog === Number.POSITIVE_INFINITY) {
      const expected = 'a watchdog, so that a hung worker is restarted';
      remarks.push(doubtful('no watchdog', expected, 'deploy with a watchdog'));
    } else {
      const span = formatDuration(watchdog / 1_000_000);
      remarks.push(
        notifies(unit)
          ? fine(`watchdog ${span}`)
          : wrong(
              `watchdog ${span} with Type=${unit.properties.Type ?? ''}`,
              'Type=notify with WatchdogSec: systemd kills a healthy worker that sends no notifications',
              'deploy again: deploy-worker sets up a working watchdog',
            ),
      );
    }
    return checkOf(supervision, remarks);
  },
};
