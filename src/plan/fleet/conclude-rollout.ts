import {
  type HostEnd,
  type LegRecord,
  type PlannedRollout,
  type RolloutEnd,
  recordKinds,
} from '../../model/fleet.ts';

/**
 * Why a host may not be begun, by what has been written down so far; `null`: it may. Canaries are begun
 * whatever becomes of each other; after one that failed, no other host is, however many may fail.
 */
export function stopReason(
  { hosts, canaries, maxFailures }: PlannedRollout,
  host: string,
  records: readonly LegRecord[],
): string | null {
  const first = hosts.slice(0, canaries);
  if (first.includes(host)) return null;
  const failed = new Set(records.filter((each) => each.failed).map((each) => each.host));
  const names = [...failed].sort();
  const most = first.some((each) => failed.has(each)) ? 1 : maxFailures;
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
 * Judges a rollout by what its legs wrote down: where each host is, and which are rolled back. A host about
 * which nothing was written was not begun; one that was begun, and whose end nobody wrote down, may be
 * in any state.
 */
export function concludeRollout(plan: PlannedRollout, records: readonly LegRecord[]): RolloutEnd {
  const legs = plan.hosts.map((host) => legOf(host, records));
  const canaryFailed = legs.slice(0, plan.canaries).some(({ failed }) => failed);
  const failures = legs.filter(({ failed }) => failed).length;
  const isStopped = canaryFailed || failures >= plan.maxFailures;
  const back =
    isStopped && plan.onFailure === 'run'
      ? legs.filter(({ state, transaction }) => state === 'confirmed' && transaction !== '')
      : [];
  return {
    hosts: legs.map(({ host, state, why }) => ({ host, state, why })),
    back: back.map(({ host, transaction }) => ({ host, transaction })),
    ok: legs.every(({ last, failed }) => last === 'ended' && !failed),
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
  why: 'not started: earlier hosts had failed, the run was cancelled, or its job could not start',
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

function legOf(host: string, all: readonly LegRecord[]): Leg {
  const own = all.filter((record) => record.host === host).sort(inOrder);
  const record = own.at(-1);
  const { state, failed, why } =
    record === undefined
      ? notBegun
      : record.kind === 'begun' || record.kind === 'returning'
        ? unended[record.kind]
        : record;
  // A leg that was run again may have had nothing to change; a release that was rolled back is nothing to undo.
  const made = own.findLast((each) => each.transaction !== '' && each.state !== 'taken-back');
  const transaction = made?.transaction ?? '';
  return { host, state, failed, why, last: record?.kind ?? null, transaction };
}

const inOrder = (one: LegRecord, other: LegRecord): number =>
  one.attempt - other.attempt || recordKinds.indexOf(one.kind) - recordKinds.indexOf(other.kind);
