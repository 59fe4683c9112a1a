import type { OwnBeats } from '../../celery/beat.ts';
import type { BeatSchedule } from '../../model/facts/broker.ts';
import { formatDuration } from '../../model/quantities.ts';
import { type EpochSeconds, seconds } from '../../model/units.ts';
import { type CheckModule, checkOf, fine, type Remark, unclear, wrong } from '../check.ts';
import { latest, type VerifyEvidence } from '../evidence.ts';

/** Beat writes its schedule every three minutes; a late entry and a slow host come on top. */
const leastSilence = 600;

/** The scheduler of the app's periodic tasks. */
export const beat: CheckModule = {
  id: 'beat',
  title: 'beat',
  proves:
    'If a unit of this host runs beat for the app, exactly one beat runs, and it keeps writing its schedule.',
  doesNotProve:
    'That no other host runs a second one, or that the tasks that it sends are executed.',
  judge(seen) {
    const { beats, call } = seen;
    if (beats.units.length === 0 && beats.processes.length === 0 && !call?.beat) return [];
    const remarks = [...judgeUnits(beats), ...judgeCount(beats, seen)];
    const isSingle = beats.processes.length === 1;
    return checkOf(
      beat,
      isSingle ? [...remarks, ...judgeSchedule(seen, latest(seen).host.now)] : remarks,
      beats.processes.map(
        ({ pid, unit, argv }) => `pid ${pid} in ${unit ?? 'no unit'}: ${argv.join(' ')}`,
      ),
    );
  },
};

/** A unit that starts at boot, or failed, should run. */
function judgeUnits({ units }: OwnBeats): readonly Remark[] {
  const isMissing = ({ activeState, unitFileState }: OwnBeats['units'][number]) =>
    activeState === 'failed' || (activeState !== 'active' && unitFileState === 'enabled');
  return units.filter(isMissing).map(({ unit, activeState }) => {
    const next = `\`systemctl restart ${unit}\`, and see its journal`;
    return wrong(`${unit} is ${activeState}`, `${unit} active`, next);
  });
}

function judgeCount({ processes, units }: OwnBeats, seen: VerifyEvidence): readonly Remark[] {
  if (processes.length > 1) {
    const places = processes.map(({ pid, unit }) => `pid ${pid} in ${unit ?? 'no unit'}`);
    const next = 'stop all but one: each sends every periodic task';
    return [wrong(`${processes.length} beats: ${places.join(', ')}`, '1 beat', next)];
  }
  const [only] = processes;
  if (only !== undefined) return [fine(`1, pid ${only.pid} in ${only.unit ?? 'no unit'}`)];
  const { unit } = latest(seen);
  const active = units.find(({ activeState }) => activeState === 'active');
  const runsIt = seen.call?.beat === true && unit.activeState === 'active';
  if (active !== undefined || runsIt) {
    const where = active?.unit ?? unit.name;
    return [wrong('no process', `a beat in ${where}`, `\`systemctl restart ${where}\``)];
  }
  // Whoever should run and does not is told above, or by the check of the worker's unit.
  return [fine('none runs')];
}

function judgeSchedule({ broker }: VerifyEvidence, now: EpochSeconds): readonly Remark[] {
  const schedule = scheduleOf(broker);
  const unknown = 'whether its schedule advances is unknown';
  if (schedule === null) return [unclear(unknown)];
  const { where, advanced, everySeconds, problem } = schedule;
  if (advanced === null) return [unclear(`${unknown}: ${problem ?? where}`)];
  const age = seconds(Math.max(0, now - advanced));
  const written = `${where} written ${formatDuration(age)} ago`;
  // Nothing may be due for days.
  if (everySeconds === null) return [fine(written)];
  const limit = seconds(Math.max(leastSilence, 3 * everySeconds));
  if (age <= limit) return [fine(written)];
  const due = `as a task is due every ${formatDuration(everySeconds)}`;
  const next = 'restart beat: it runs and sends nothing';
  return [wrong(written, `within ${formatDuration(limit)}, ${due}`, next)];
}

function scheduleOf(search: VerifyEvidence['broker']): BeatSchedule | null {
  if (search.kind === 'not-asked' || search.last.kind === 'unknown') return null;
  return search.last.beat;
}
