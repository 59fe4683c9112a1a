import { visibilityTimeout } from '../../celery/app-rules.ts';
import type { UnitFact } from '../../model/facts.ts';
import type { Check } from '../../model/verdict.ts';
import { formatDuration } from '../../report/quantities.ts';
import { parseTimeSpan } from '../../systemd/values.ts';
import { checkOf, doubtful, fine, skippedCheck } from '../check.ts';
import type { GateResult } from '../evidence.ts';

const id = visibilityTimeout.id;
const title = 'visibility timeout';

/** What deploy-worker adds to the longest task: a stop waits for both. */
const stopMarginSeconds = 60;

/**
 * Compares the app's visibility timeout with the longest task, as far as the stop of the unit shows
 * it. No check if no process of the app sent the probes.
 */
export function checkDelivery(gate: GateResult, unit: UnitFact): readonly Check[] {
  const runs = gate.kind === 'sent' ? gate.runs : [];
  const [told] = runs.flatMap(({ result }) =>
    result.kind === 'report' && result.report.delivery ? [result.report.delivery] : [],
  );
  if (told === undefined) return [];
  const { transport, seconds, where, problem } = told;
  if (problem !== null) return [skippedCheck(id, title, `unknown: ${problem}`)];
  if (seconds === null) return [checkOf(id, title, [fine(`none: the broker is ${transport}`)])];
  const seen = `${formatDuration(seconds)} (${where})`;
  const stop = parseTimeSpan(unit.properties.TimeoutStopUSec ?? '');
  const longest = stop === null ? Number.NaN : stop / 1_000_000 - stopMarginSeconds;
  // A stop without limit shows nothing about the longest task.
  if (!Number.isFinite(longest) || seconds >= longest) return [checkOf(id, title, [fine(seen)])];
  const expected = `at least ${formatDuration(longest)}, for which a stop waits`;
  return [checkOf(id, title, [doubtful(seen, expected, `set ${visibilityTimeout.fix}`)])];
}
