import type { UnackedFact } from '../model/facts/broker.ts';
import type { Finding, Operation } from '../model/operation.ts';
import type { Outcome } from '../model/outcome.ts';
import { formatDuration } from '../model/quantities.ts';
import { type Seconds, seconds } from '../model/units.ts';

/** What to report about a restart besides its steps. */
export interface RestartReport {
  /** `null`: nothing was restarted, or the unit does not report when it is ready. */
  readonly downtimeSeconds: Seconds | null;
  /** Empty, or one sentence. */
  readonly sentence: string;
  readonly findings: readonly Finding[];
}

/**
 * What the steps of a deploy measured and found: the downtime, and tasks and jobs left over.
 *
 * @param unacked what the release that failed left in the broker; `null`: not looked for
 */
export function describeRestart(
  outcome: Outcome,
  unacked: UnackedFact | null = null,
): RestartReport {
  const downtimeSeconds = downtimeOf(outcome);
  return {
    downtimeSeconds,
    sentence:
      downtimeSeconds === null
        ? ''
        : `Downtime: no task was accepted for ${formatDuration(downtimeSeconds)}.`,
    findings: [...outcome.steps.flatMap(findingsOf), ...describeLeft(outcome, unacked)],
  };
}

/**
 * From the last moment at which the old worker may have accepted a task to the first moment at which
 * the new one could. Both are on the host's clock since boot.
 */
function downtimeOf({ result, steps }: Outcome): Seconds | null {
  if (result !== 'committed') return null;
  const moment = (op: Operation['op'], name: string): number | null => {
    const found = steps.find((step) => step.op === op && step.status === 'done')?.result?.[name];
    return typeof found === 'number' ? found : null;
  };
  const from = moment('drain-worker', 'consumedUntil') ?? moment('stop-unit', 'consumedUntil');
  const to = moment('start-unit', 'consumesFrom');
  return from === null || to === null || to < from
    ? null
    : seconds(Math.round((to - from) * 10) / 10);
}

/** Whether a release ran and failed: then it may have left messages that none of its steps looked for. */
export function mayHaveLeft({ result, steps }: Outcome): boolean {
  const started = steps.some(
    ({ op, status }) => op === 'start-unit' && status !== 'skipped' && status !== 'already',
  );
  const looked = steps.some(({ op, status }) => op === 'find-unacked' && status !== 'skipped');
  return result !== 'committed' && started && !looked;
}

const comeBack =
  'they return to their queues after the visibility timeout, or with the next deploy that has `restore-unacked`';

function describeLeft(outcome: Outcome, unacked: UnackedFact | null): readonly Finding[] {
  if (!mayHaveLeft(outcome)) return [];
  const left = 'the release that failed may have left messages unacknowledged';
  if (unacked === null) {
    return [
      { level: 'notice', message: `${left}, and this run did not look for them: ${comeBack}` },
    ];
  }
  const { message } = unacked;
  if (unacked.kind === 'unknown') {
    return [{ level: 'notice', message: `${left}, and this run ${message}; ${comeBack}` }];
  }
  if (unacked.count === 0) return [];
  return [{ level: 'warning', message: `${message}${idsOf(unacked.messages)}; ${comeBack}` }];
}

function findingsOf({ op, status, message, result }: Outcome['steps'][number]): readonly Finding[] {
  if (status !== 'done' || result === undefined) return [];
  if (op === 'drain-worker') {
    return 'problem' in result ? [{ level: 'notice', message }] : [];
  }
  if (op === 'try-app') {
    if ('accepted' in result) return [{ level: 'notice', message }];
    return 'problem' in result ? [{ level: 'warning', message }] : [];
  }
  if (op !== 'find-unacked' && op !== 'restore-unacked') return [];
  if ('problem' in result) return [{ level: 'notice', message }];
  const left = Number(result.count) - Number(result.restored);
  if (!(left > 0)) return [];
  return [{ level: 'warning', message: `${message}${idsOf(result.messages)}` }];
}

/** `: 5f2c… (tasks.process_link, queue links), …` */
function idsOf(messages: unknown): string {
  if (!Array.isArray(messages) || messages.length === 0) return '';
  const shown = messages
    .slice(0, 5)
    .map(({ id, task, queue }) => `${id} (${task}, queue ${queue})`)
    .join(', ');
  const more = messages.length > 5 ? ', …' : '';
  return `: ${shown}${more}`;
}
