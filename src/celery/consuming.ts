import type { ConsumingQuery } from '../model/facts/broker.ts';
import type { HostFact } from '../model/facts/host.ts';
import type { UnitFact } from '../model/facts/unit.ts';
import type { ByTheApp } from '../model/operation/app.ts';
import { type Seconds, seconds } from '../model/units.ts';
import type { WorkerCall } from './worker-call.ts';

/** How to ask whether a worker takes its messages; `null`: its queues cannot be read. */
export function consumingQuery(app: ByTheApp, call: WorkerCall | null): ConsumingQuery | null {
  if (call === null || call.queues === 'unknown') return null;
  return { ...app, queues: call.queues === 'default' ? null : call.queues, forks: call.forks };
}

/** The support module reports once a minute, with the next turn of its loop. */
const FRESH = seconds(90);
/** systemd takes no longer message from a service; what a host says may be longer. */
const LONGEST_STATUS = 4096;
/** As the support module writes it: `Consuming from a, b [at=86400 … queues=2 waiting:a=0 …]`. */
const REPORT = /^Consuming from (?<names>\S.*) \[at=(?<at>\d{1,15}) (?<words>[!-~ ]*)\]$/;

/**
 * How long ago the worker itself saw that no message waited in any of its queues, by the status of its
 * unit, which its support module writes; `null`: it has not lately, or consumes other queues.
 */
export function sawNothingWaiting(
  { activeState, properties }: UnitFact,
  { monotonic }: Pick<HostFact, 'monotonic'>,
  call: WorkerCall,
): Seconds | null {
  const { StatusText: status = '' } = properties;
  if (status.length > LONGEST_STATUS) return null;
  const { names, at, words = '' } = REPORT.exec(status)?.groups ?? {};
  if (activeState !== 'active' || names === undefined || names === 'no queue') return null;
  const age = seconds(monotonic - Number(at));
  // Of a clock that stands before it, nothing is known.
  if (!(age >= -1 && age <= FRESH)) return null;
  const counts = new Map(words.split(' ').map((word) => pairOf(word)));
  const waiting = [...counts].filter(([name]) => name.startsWith('waiting:'));
  // Not one queue may be missing: some are never measured, and a long list is cut off.
  const isWhole =
    counts.get('queues') === `${waiting.length}` && waiting.length === names.split(', ').length;
  const isEmpty = waiting.every(([, count]) => count === '0');
  const isItsOwn =
    call.queues === 'default' ||
    (call.queues !== 'unknown' && call.queues.toSorted().join(', ') === names);
  return isWhole && isEmpty && isItsOwn ? seconds(Math.max(0, age)) : null;
}

function pairOf(word: string): readonly [string, string] {
  const at = word.lastIndexOf('=');
  return [word.slice(0, at), word.slice(at + 1)];
}
