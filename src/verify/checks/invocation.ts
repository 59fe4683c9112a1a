import type { EndedRun } from '../../model/facts/journal.ts';
import { formatInstant } from '../../model/quantities.ts';
import {
  type CheckModule,
  checkOf,
  doubtful,
  fine,
  type Remark,
  unclear,
  unknownCheck,
  wrong,
} from '../check.ts';
import { latest, type VerifyEvidence } from '../evidence.ts';

const shownDigits = 8;

/**
 * What a stop that somebody asked for may end with: a worker that did not end its tasks in time is
 * no sign that the release fails, and nothing that the release before would do better. Whether a
 * signal leaves a core dump is a matter of limits.
 */
const endsOfStops: readonly string[] = ['timeout', 'exit-code', 'signal', 'core-dump'];

/** Whether all that was seen is of one run of the unit. */
export const invocation: CheckModule = {
  id: 'invocation',
  title: 'one run of the unit',
  proves:
    'Nobody restarted the unit between the first look and the last, and systemd reports no failure of this run. If it was restarted, systemd logged no failure of a run that ended in between.',
  doesNotProve:
    'That nobody restarted it earlier: `unit` shows since when it has been running. A restart that somebody requested, or may have requested without systemd logging it, is a warning, because it may be one by `needrestart`; restarts by systemd itself fail in `restarts`.',
  judge(seen, desired) {
    const { unit, journal } = latest(seen);
    const id = unit.properties.InvocationID ?? '';
    const first = seen.before.unit.properties.InvocationID ?? '';
    if (unit.activeState !== 'active') return unknownCheck(invocation, 'the unit is not running');
    if (id === '' || first === '') {
      return unknownCheck(invocation, 'systemd does not report the run (InvocationID)');
    }
    const since = unit.activeSince === null ? '' : ` since ${formatInstant(unit.activeSince)}`;
    const remarks: Remark[] = [];
    let evidence: readonly string[] = [];
    if (id === first) {
      remarks.push(fine(`run ${shortOf(id)}${since}`));
    } else {
      const said = `restarted during the gate: run ${shortOf(first)} became ${shortOf(id)}`;
      const next = `run \`journalctl -u ${unit.name}\` on the host to see who restarted it`;
      // Whoever restarts it meanwhile, such as needrestart, says nothing against the release.
      remarks.push(doubtful(said, 'one run from the first look on', next));
      remarks.push(...judgeEnds(seen, first, desired.maxRestarts));
      evidence = journal.ends.length > 0 ? ['systemd said:', ...journal.ends] : [];
    }
    const result = unit.properties.Result ?? '';
    if (result !== '' && result !== 'success') {
      remarks.push(
        doubtful(`result ${result}`, 'result success', `\`systemctl status ${unit.name}\``),
      );
    }
    return checkOf(invocation, remarks, evidence);
  },
};

/** How the runs ended that ended since the first look; nothing of those that ended cleanly. */
function judgeEnds(seen: VerifyEvidence, first: string, maxRestarts: number): readonly Remark[] {
  const { unit, journal } = latest(seen);
  const begin = journal.endedRuns.findIndex(({ run }) => run === first);
  const ended =
    begin >= 0
      ? journal.endedRuns.slice(begin)
      : journal.endedRuns.filter(({ at }) => at >= seen.before.host.now);
  const remarks = runsToJudge(ended, Number(unit.properties.NRestarts ?? 0), maxRestarts).flatMap(
    (each) => judgeEnd(each, unit.name),
  );
  if (begin >= 0) return remarks;
  const unknown = `how run ${shortOf(first)} ended is unknown: the journal does not show what systemd logged about it`;
  return [...remarks, unclear(unknown)];
}

/**
 * Without those that systemd restarted as often as is allowed: `restarts` judges what systemd counts,
 * and it counts anew with each start by somebody else.
 */
function runsToJudge(
  ended: readonly EndedRun[],
  counted: number,
  maxRestarts: number,
): readonly EndedRun[] {
  const runs = ended.slice(0, ended.findLastIndex(({ restarted }) => !restarted) + 1);
  const restarts = runs.filter(({ restarted }) => restarted).length + counted;
  return restarts > maxRestarts ? runs : runs.filter(({ restarted }) => !restarted);
}

function judgeEnd(end: EndedRun, unit: string): readonly Remark[] {
  const { run, result, stopped, exit } = end;
  if (result === 'success') return [];
  const name = `run ${shortOf(run)}`;
  if (result === '') return [unclear(`how ${name} ended is unknown: systemd did not log it`)];
  const how = exit === '' ? '' : ` (${exit.replace(`${unit}: `, '').replace(/\.$/, '')})`;
  const expected = 'runs that end only when they are stopped';
  const next = `run \`journalctl -u ${unit}\` on the host to see why it ended`;
  if (endsOfStops.includes(result)) {
    const ended = `ended with result ${result}${how}`;
    if (stopped) return [doubtful(`${name} was stopped, and ${ended}`, expected, next)];
    if (!wouldTellStop(end)) {
      return [
        unclear(`${name} ${ended}: whether it was stopped is unknown, ${whyUntold(end)}`, next),
      ];
    }
  }
  return [wrong(`${name} failed with result ${result}${how}`, expected, next)];
}

/**
 * Whether systemd would have logged that somebody stopped it. A start that was cut short has not
 * failed, and a run that was asked to stop is not restarted.
 */
const wouldTellStop = ({ phase, restarted }: EndedRun): boolean =>
  restarted || phase === 'started' || phase === 'not-started';

const whyUntold = ({ phase }: EndedRun): string =>
  phase === 'reloading'
    ? 'as systemd does not log it during a reload'
    : 'as the journal does not show that it had started (LogLevelMax?)';

const shortOf = (run: string): string => run.slice(0, shownDigits);
