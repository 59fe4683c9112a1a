import type { VerifyDesired } from '../../config/verify-desired.ts';
import type { UnitFact } from '../../model/facts.ts';
import type { Check } from '../../model/verdict.ts';
import { formatBytes, formatCount, formatDuration } from '../../report/quantities.ts';
import { parseTimeSpan } from '../../systemd/values.ts';
import { checkOf, doubtful, fine, lastLines, type Remark, skippedCheck, wrong } from '../check.ts';
import type { VerifyFacts } from '../evidence.ts';

/** Journal lines shown for a unit that is not running. */
const shownTail = 15;

/** Active and running; with Type=notify this means that the worker reported ready. */
export function checkUnit({ unit, host, journal }: VerifyFacts): Check {
  const state = `${unit.activeState} (${unit.subState})`;
  const runs = unit.activeState === 'active' && unit.subState === 'running';
  const journalCommand = `run \`journalctl -u ${unit.name}\` on the host`;
  if (!runs) {
    const result = unit.properties.Result ?? '';
    const seen = result === '' || result === 'success' ? state : `${state}, result ${result}`;
    return checkOf(
      'unit',
      unit.name,
      [wrong(seen, 'active (running)', `${journalCommand}, fix the cause and deploy again`)],
      lastLines(journal.tail, shownTail),
    );
  }
  const since =
    unit.activeSince === null ? '' : ` for ${formatDuration(host.now - unit.activeSince)}`;
  const ready = notifies(unit) ? ', reported ready (Type=notify)' : '';
  const remarks = [fine(`${state}${since}${ready}`)];
  if (unit.unitFileState === 'disabled') {
    const next = `\`systemctl enable ${unit.name}\`, or deploy again`;
    remarks.push(doubtful('disabled', 'enabled, so that it starts after a reboot', next));
  }
  if (unit.needDaemonReload) {
    const next = 'deploy again, or `systemctl daemon-reload` and restart';
    remarks.push(
      doubtful(
        'unit file changed since systemd loaded it',
        'the loaded unit to match its file',
        next,
      ),
    );
  }
  return checkOf('unit', unit.name, remarks);
}

/** MemoryMax and MemoryHigh as systemd enforces them. */
export function checkLimits({ unit, host }: VerifyFacts, desired: VerifyDesired): Check {
  const max = readLimit(unit, 'MemoryMax');
  const high = readLimit(unit, 'MemoryHigh');
  const remarks = [
    judgeLimit('MemoryMax', max, desired.memoryMaxBytes),
    judgeLimit('MemoryHigh', high, desired.memoryHighBytes),
  ];
  if (max === null && desired.memoryMaxBytes === null) {
    const next = 'set memory-max in deploy-worker';
    remarks.push(
      doubtful('', 'a MemoryMax, so that a memory leak cannot take down the host', next),
    );
  }
  if (typeof high === 'number' && host.memory.swapTotalBytes === 0) {
    // MemoryHigh throttles and never kills; without swap there is nothing to reclaim to.
    const next = 'run provision, or remove MemoryHigh';
    remarks.push(doubtful('the host has no swap', 'swap, because MemoryHigh is set', next));
  }
  return checkOf('limits', 'memory limits', remarks);
}

/** Restart= and a working watchdog. */
export function checkSupervision({ unit }: VerifyFacts): Check {
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
  return checkOf('supervision', 'restart and watchdog', remarks);
}

/** NRestarts: restarts by systemd itself since the last start by hand or deploy. */
export function checkRestarts({ unit, journal }: VerifyFacts, desired: VerifyDesired): Check {
  const text = unit.properties.NRestarts ?? '';
  if (!/^\d+$/.test(text)) {
    return skippedCheck('restarts', 'restarts', 'systemd does not report NRestarts');
  }
  const count = Number(text);
  const seen = count === 0 ? 'none' : formatCount(count, 'restart');
  if (count <= desired.maxRestarts) return checkOf('restarts', 'restarts', [fine(seen)]);
  const next = `run \`journalctl -u ${unit.name}\` on the host to see why it exited`;
  return checkOf(
    'restarts',
    'restarts',
    [wrong(seen, atMost(desired.maxRestarts), next)],
    lastLines(journal.tail, shownTail),
  );
}

/** `none` or `at most 3`. */
export const atMost = (limit: number): string => (limit === 0 ? 'none' : `at most ${limit}`);

const notifies = (unit: UnitFact): boolean =>
  ['notify', 'notify-reload'].includes(unit.properties.Type ?? '');

/** `null`: no limit; `undefined`: not reported by systemd. */
export function readLimit(
  unit: UnitFact,
  property: 'MemoryMax' | 'MemoryHigh',
): number | null | undefined {
  const text = unit.properties[property];
  if (text === 'infinity') return null;
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

function judgeLimit(
  property: string,
  actual: number | null | undefined,
  desired: number | null,
): Remark {
  const seen =
    actual === undefined
      ? `${property} unknown`
      : actual === null
        ? `no ${property}`
        : `${property} ${formatBytes(actual)}`;
  if (desired === null || actual === desired) return fine(seen);
  // Rounded sizes may look the same: show the bytes then.
  const wanted = `${property} ${formatBytes(desired)}`;
  const precise = typeof actual === 'number' && wanted === seen;
  return wrong(
    precise ? `${property} ${actual} bytes` : seen,
    precise ? `${property} ${desired} bytes` : wanted,
    'deploy again',
  );
}
