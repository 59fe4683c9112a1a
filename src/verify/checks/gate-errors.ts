import { formatCount } from '../../report/quantities.ts';
import { type CheckModule, checkOf, fine, wrong } from '../check.ts';
import { describeSignature } from '../logged.ts';

/** Kinds of errors that appeared while the probes of the gate ran. */
export const gateErrors: CheckModule = {
  id: 'gate-errors',
  title: 'gate: new kinds of errors',
  proves:
    'Each error that the worker logged during the gate has a signature that it had logged before.',
  doesNotProve: 'That a probe caused it: other jobs may run at the same time.',
  judge({ logged, loggedMeanwhile }) {
    if (loggedMeanwhile === null) return [];
    // `logged` ends after the gate; what it has more often than the gate, it had before.
    const whole = new Map(logged.signatures.map((each) => [each.signature, each]));
    const found = loggedMeanwhile.signatures.filter(({ signature, count }) => {
      const known = whole.get(signature);
      return known === undefined || ((known.before ?? 0) === 0 && known.count <= count);
    });
    if (found.length === 0) return checkOf(gateErrors, [fine('none')]);
    const seen = `${formatCount(found.length, 'signature')}: ${found[0]?.signature ?? ''}`;
    const next = 'check the evidence: the probes, or jobs beside them, failed in a new way';
    return checkOf(
      gateErrors,
      [wrong(seen, 'only errors that occurred before', next)],
      found.map(describeSignature),
    );
  },
};
