import type { Operation } from '../../model/operation.ts';
import type { Outcome } from '../../model/outcome.ts';
import { type EpochSeconds, epochSeconds } from '../../model/units.ts';

/** A worker that was seen to be gone: its unit stopped, nothing left in its cgroup, strays ended. */
export interface RecordedStop {
  readonly unit: string;
  /** When that was seen, by the host's clock. */
  readonly at: EpochSeconds;
}

/**
 * The stop that a deploy recorded; `null`: it stopped nothing, or did not stay. Of a unit that was at
 * rest already it is the last moment before its start.
 */
export function recordedStop({ result, steps }: Outcome, unit: string): RecordedStop | null {
  if (result !== 'committed') return null;
  const moments = (op: Operation['op'], name: string): readonly number[] =>
    steps.flatMap((step) => {
      const moment = step.op === op && step.status === 'done' ? step.result?.[name] : null;
      return typeof moment === 'number' && moment > 0 ? [moment] : [];
    });
  const stopped = moments('stop-unit', 'stoppedAt');
  const seen =
    stopped.length > 0
      ? [...stopped, ...moments('end-process', 'endedAt')]
      : moments('start-unit', 'restedUntil');
  return seen.length === 0 ? null : { unit, at: epochSeconds(Math.max(...seen)) };
}
