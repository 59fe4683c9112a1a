import type { HostFact } from '../../model/facts/host.ts';
import type { UnitFact } from '../../model/facts/unit.ts';
import { formatDuration } from '../../model/quantities.ts';
import { microseconds, parseTimeSpan } from '../../systemd/values.ts';
import {
  type CheckModule,
  checkOf,
  doubtful,
  fine,
  type Remark,
  unknownCheck,
  wrong,
} from '../check.ts';
import { latest, type VerifyFacts } from '../evidence.ts';
import { notifies } from '../unit-values.ts';

/** The support module feeds it four times in its time: at three quarters, two pings are missing. */
const lateShare = 0.75;
/** Later than this, systemd should have ended the worker. */
const overdueShare = 1.25;

/** Whether the worker feeds its watchdog, by systemd's own timestamp. */
export const watchdog: CheckModule = {
  id: 'watchdog',
  title: 'watchdog is fed',
  proves: 'The main process of the worker reported to the watchdog of systemd within its time.',
  doesNotProve: 'That its children work, and that it receives messages.',
  judge(seen) {
    const facts = latest(seen);
    const { unit } = facts;
    const limit = limitOf(unit);
    // The checks `unit` and `supervision` say what is wrong with such a unit.
    if (limit === null || !notifies(unit) || unit.activeState !== 'active') return [];
    const age = ageOf(facts);
    if (age === null) return unknownCheck(watchdog, 'systemd does not report when it was fed');
    return checkOf(watchdog, [judgeAge(age, limit, unit, hasMoved(seen.before, seen.after))]);
  },
};

function judgeAge(age: number, limit: number, { name }: UnitFact, moved: boolean): Remark {
  const seen = `fed ${formatDuration(age)} ago${moved ? ', and during the gate' : ''}; its limit is ${formatDuration(limit)}`;
  const expected = `a worker that feeds it within ${formatDuration(limit)}`;
  if (age > limit * overdueShare) {
    const next = `restart ${name}: systemd should have ended it, so its watchdog does not work`;
    return wrong(seen, expected, next);
  }
  if (age > limit * lateShare) {
    const next = `check what its main process does; at ${formatDuration(limit)} systemd ends it`;
    return doubtful(seen, expected, next);
  }
  return fine(seen);
}

/** In seconds; `null`: there is no watchdog. */
function limitOf({ properties }: UnitFact): number | null {
  const span = parseTimeSpan(properties.WatchdogUSec ?? '0') ?? 0;
  return span === 0 || !Number.isFinite(span) ? null : span / microseconds(1);
}

/** Seconds since it was fed, by a clock that nobody sets and that rests when the machine does. */
function ageOf({ unit, host }: { unit: UnitFact; host: HostFact }): number | null {
  const fed = monotonic(unit, 'WatchdogTimestampMonotonic');
  return fed === null ? null : Math.max(0, host.monotonic - fed);
}

function monotonic({ properties }: UnitFact, name: string): number | null {
  const text = properties[name] ?? '';
  return /^[1-9]\d*$/.test(text) ? Number(text) / microseconds(1) : null;
}

function hasMoved(before: VerifyFacts, after: VerifyFacts | null): boolean {
  const first = monotonic(before.unit, 'WatchdogTimestampMonotonic');
  const last = after === null ? null : monotonic(after.unit, 'WatchdogTimestampMonotonic');
  return first !== null && last !== null && last > first;
}
