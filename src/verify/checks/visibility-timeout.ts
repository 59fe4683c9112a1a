import { visibilityTimeout as rule, stopMarginSeconds } from '../../celery/app-rules.ts';
import { formatDuration } from '../../model/quantities.ts';
import { parseTimeSpan } from '../../systemd/values.ts';
import { type CheckModule, checkOf, doubtful, fine, unknownCheck } from '../check.ts';
import { latest } from '../evidence.ts';

/** The visibility timeout of the app against its longest task. */
export const visibilityTimeout: CheckModule = {
  id: rule.id,
  title: 'visibility timeout',
  proves:
    'The broker does not deliver a message again while its task may still run (judged by how long a stop of the unit waits). Only if a process of the app sent the probes.',
  doesNotProve: 'How long tasks really take.',
  judge(evidence) {
    const { gate } = evidence;
    const { unit } = latest(evidence);
    const runs = gate.kind === 'sent' ? gate.runs : [];
    const [told] = runs.flatMap(({ result }) =>
      result.kind === 'report' && result.report.delivery ? [result.report.delivery] : [],
    );
    if (told === undefined) return [];
    const { transport, seconds, where, problem } = told;
    if (problem !== null) return [unknownCheck(visibilityTimeout, `unknown: ${problem}`)];
    if (seconds === null)
      return [checkOf(visibilityTimeout, [fine(`none: the broker is ${transport}`)])];
    const seen = `${formatDuration(seconds)} (${where})`;
    const stop = parseTimeSpan(unit.properties.TimeoutStopUSec ?? '');
    const longest = stop === null ? Number.NaN : stop / 1_000_000 - stopMarginSeconds;
    // A stop without limit shows nothing about the longest task.
    if (!Number.isFinite(longest) || seconds >= longest)
      return [checkOf(visibilityTimeout, [fine(seen)])];
    const expected = `at least ${formatDuration(longest)}, for which a stop waits`;
    return [checkOf(visibilityTimeout, [doubtful(seen, expected, `set ${rule.fix}`)])];
  },
};
