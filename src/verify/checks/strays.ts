import { formatCount, formatDuration } from '../../model/quantities.ts';
import { type CheckModule, checkOf, fine, unknownCheck, wrong } from '../check.ts';
import { latest } from '../evidence.ts';

/** Stray workers: they take tasks from the same queues, and systemd does not supervise them. */
export const strays: CheckModule = {
  id: 'strays',
  title: 'stray workers',
  proves: 'No worker of the same app runs outside the unit.',
  doesNotProve: 'Anything about workers on other hosts.',
  judge(seen) {
    const facts = latest(seen);
    if (seen.strays === null) {
      return unknownCheck(
        strays,
        `${facts.unit.name} does not show its app, as \`celery -A <app> worker\` does`,
      );
    }
    if (seen.strays.length === 0) return checkOf(strays, [fine('none')]);
    const evidence = seen.strays.map(
      ({ pid, argv, cgroup, startedAt }) =>
        `pid ${pid}, running for ${formatDuration(facts.host.now - startedAt)} in ${cgroup}: ${argv.join(' ')}`,
    );
    return checkOf(
      strays,
      [
        wrong(
          formatCount(seen.strays.length, 'worker'),
          'none',
          'run deploy-worker, which ends them',
        ),
      ],
      evidence,
    );
  },
};
