import {
  type HostEnd,
  type JobResults,
  type LegRecord,
  type PlannedRollout,
  type RolloutEnd,
  recordKinds,
} from '../../model/fleet.ts';
import { hiddenFailures, jobOf } from './job-results.ts';

/**
 * Why a host may not be begun, by what has been written down so far, and by the jobs before its own; `null`:
 * it may. Canaries are begun whatever becomes of each other; after one that failed, no other host is, however
 * many may fail.
 */
export function stopReason(
  plan: PlannedRollout,
  host: string,
  records: readonly LegRecord[],
  results: JobResults = {},
): string | null {
  const { hosts, canaries, maxFailures } = plan;
  const first = hosts.slice(0, canaries);
  if (first.includes(host)) return null;
  const failed = new Set(records.filter((each) => each.failed).map((each) => each.host));
  const hidden = hiddenFailures(plan, failed, results);
  const names = [...[...failed].sort(), ...hidden.map((job) => `a host of the job ${job}`)];
  const isCanary = hidden.includes('canary') || first.some((each) => failed.has(each));
  const most = isCanary ? 1 : maxFailures;
  return names.length < most ? null : `not started: ${fewOf(names)} had failed`;
}

/** A sentence names this many hosts. */
const named = 8;

function fewOf(names: readonly string[]): string {
  const more = names.length - named;
  const few = names.slice(0, named).join(', ');
  return more > 0 ? `${few} and ${more} more` : few;
}

/**
 * Judges a rollout by what its legs wrote down, and by how their jobs ended: where each host is, and which are
 * rolled back. A host is untouched only if that was written down or its job was skipped: a record that is
 * missing proves nothing, because a list of artifacts may be cut. One that was begun, and whose end nobody
 * wrote down, may be in any state.
 */
export function concludeRollout(
  plan: PlannedRollout,
  records: readonly LegRecord[],
  results: JobResults = {},
): RolloutEnd {
  const legs = plan.hosts.map((host) => legOf(host, records, results[jobOf(plan, host)]));
  const failed = new Set(legs.filter((each) => each.failed).map(({ host }) => host));
  // A job none of whose hosts left a record did perhaps not begin; nothing is rolled back for that.
  const seen = new Set(
    legs.filter(({ last }) => last !== null).map(({ host }) => jobOf(plan, host)),
  );
  const hidden = hiddenFailures(plan, failed, results).filter((job) => seen.has(job));
  const canaryFailed =
    hidden.includes('canary') || legs.slice(0, plan.canaries).some((each) => each.failed);
  const isStopped = canaryFailed || failed.size + hidden.length >= plan.maxFailures;
  const back =
    isStopped && plan.onFailure === 'run'
      ? legs.filter(({ state, transaction }) => state === 'confirmed' && transaction !== '')
      : [];
  const broken = Object.values(results).some((each) => each === 'failure' || each === 'cancelled');
  return {
    hosts: legs.map(({ host, state, why }) => ({ host, state, why })),
    back: back.map(({ host, transaction }) => ({ host, transaction })),
    ok:
      !broken &&
      legs.every((leg) => leg.last === 'ended' && leg.state !== 'unknown' && !leg.failed),
  };
}

interface Leg extends HostEnd {
  readonly host: string;
  readonly last: LegRecord['kind'] | null;
  readonly transaction: string;
}

const notBegun: HostEnd = {
  state: 'untouched',
  failed: false,
  why: 'not started: a canary had failed, or the run was cancelled',
};

const unrecorded: HostEnd = {
  state: 'unknown',
  failed: false,
  why: 'no record of it was found: see its job. If that did not begin, the host is untouched',
};

const contradicted: HostEnd = {
  state: 'unknown',
  failed: false,
  why: 'its job succeeded, but no record of that was found: see its job',
};

const lost: HostEnd = {
  state: 'unknown',
  failed: true,
  why: 'its job was lost halfway. The host finishes or undoes the deploy by itself, and rolls it back unless verify confirms it within `confirm-within`',
};

const lostReturn: HostEnd = {
  state: 'unknown',
  failed: true,
  why: 'was being rolled back when its job was lost, so the outcome is unknown. The host finishes by itself what it has begun',
};

/** What a record says that another one should have followed. */
const unended = { begun: lost, returning: lostReturn } as const;

/** The end of every host, once nothing more is done: one that is still to be rolled back was not, or was lost. */
export const endsWithout = ({ hosts, back }: RolloutEnd): RolloutEnd['hosts'] =>
  hosts.map((each) =>
    back.some(({ host }) => host === each.host)
      ? {
          ...each,
          state: 'unknown',
          why: 'was to be rolled back, but the outcome is unknown: see its job',
        }
      : each,
  );

function legOf(
  host: string,
  all: readonly LegRecord[],
  result: JobResults[string] | undefined,
): Leg {
  const own = all.filter((record) => record.host === host).sort(inOrder);
  const record = own.at(-1);
  const { state, failed, why } = endOf(record, result);
  // A leg that was run again may have had nothing to change; a release that was rolled back is nothing to undo.
  const made = own.findLast((each) => each.transaction !== '' && each.state !== 'rolled-back');
  const transaction = made?.transaction ?? '';
  return { host, state, failed, why, last: record?.kind ?? null, transaction };
}

/** Where a host is by its latest record and the result of its job, which succeeds only if all its hosts do. */
function endOf(record: LegRecord | undefined, result: JobResults[string] | undefined): HostEnd {
  if (record === undefined) return result === 'skipped' ? notBegun : unrecorded;
  const { kind } = record;
  if (result === 'success' && (kind === 'begun' || (kind === 'ended' && record.failed))) {
    return contradicted;
  }
  return kind === 'begun' || kind === 'returning' ? unended[kind] : record;
}

const inOrder = (one: LegRecord, other: LegRecord): number =>
  one.attempt - other.attempt || recordKinds.indexOf(one.kind) - recordKinds.indexOf(other.kind);
