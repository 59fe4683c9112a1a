import { formatCount } from '../../model/quantities.ts';
import {
  type CheckModule,
  checkOf,
  doubtful,
  fine,
  type Remark,
  unclear,
  wrong,
} from '../check.ts';
import { describeSignature, errorsOfGate, type Signature } from '../logged.ts';
import { atMost } from '../unit-values.ts';

const expected = 'only errors that occurred before';

/** Kinds of errors that appeared while the probes of the gate ran. */
export const gateErrors: CheckModule = {
  id: 'gate-errors',
  title: 'gate: new kinds of errors',
  proves:
    'Each error that the worker logged during the gate has a signature that it had logged before.',
  doesNotProve:
    'That a probe or the release caused it: other jobs may run at the same time. So it fails only beyond `max-errors`, and is a warning without it.',
  judge({ logged, loggedMeanwhile }, { maxErrors }) {
    if (loggedMeanwhile === null) return [];
    const found = errorsOfGate(logged, loggedMeanwhile);
    const remarks = [
      ...judgeFresh(found.fresh, maxErrors),
      ...judgeUnclear(found.unclear, loggedMeanwhile.moreSignatures),
    ];
    const shown = [...found.unclear, ...found.fresh].map(describeSignature);
    return checkOf(gateErrors, remarks.length === 0 ? [fine('none')] : remarks, shown);
  },
};

function judgeFresh(fresh: readonly Signature[], allowed: number | null): readonly Remark[] {
  if (fresh.length === 0) return [];
  const seen = describeKinds(fresh);
  const count = fresh.reduce((sum, each) => sum + each.count, 0);
  const next =
    'check the evidence: the probes, or other jobs at the same time, failed in a new way';
  if (allowed === null || count <= allowed) return [doubtful(seen, expected, next)];
  const limit = `of others, ${atMost(allowed)}`;
  return [wrong(`${seen}; ${formatCount(count, 'error')}`, `${expected}; ${limit}`, next)];
}

function judgeUnclear(kinds: readonly Signature[], more: number): readonly Remark[] {
  const known =
    kinds.length === 0
      ? []
      : [unclear(`${describeKinds(kinds)}; it is unknown whether it occurred before`)];
  if (more === 0) return known;
  return [...known, unclear(`${formatCount(more, 'error')} of further signatures`)];
}

const describeKinds = (kinds: readonly Signature[]): string =>
  `${formatCount(kinds.length, 'signature')}: ${kinds[0]?.signature ?? ''}`;
