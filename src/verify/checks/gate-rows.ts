import { formatCount } from '../../model/quantities.ts';
import { type CheckModule, checkOf, doubtful, fine } from '../check.ts';

/** Whether what the probes made in the app was removed or marked, where `gate-clean-url` says how. */
export const gateRows: CheckModule = {
  id: 'gate-rows',
  title: 'gate: clean-up after the probes',
  proves: 'The app answered each request to `gate-clean-url` for a probe of this run with success.',
  doesNotProve: 'That the app removed everything that the probe created.',
  judge({ gate }) {
    if (gate.kind !== 'sent') return [];
    const jobs = gate.runs.flatMap(({ result }) =>
      result.kind === 'report' ? result.report.jobs : [],
    );
    const asked = jobs.flatMap(({ id, where, left }) =>
      left === undefined ? [] : [{ id, where, left }],
    );
    if (asked.length === 0) return [];
    const kept = asked.filter(({ left }) => left !== null);
    const removed = `${asked.length - kept.length} of ${formatCount(asked.length, 'probe')} cleaned up`;
    if (kept.length === 0) return checkOf(gateRows, [fine(removed)]);
    const seen = `${removed}; ${kept[0]?.id}: ${kept[0]?.left}`;
    const next = 'remove them in the app, and check gate-clean-url';
    return checkOf(
      gateRows,
      [doubtful(seen, 'all of them cleaned up', next)],
      kept.map(({ id, where, left }) => `${where} (${id}): ${left}`),
    );
  },
};
