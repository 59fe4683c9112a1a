import { describeDeafness } from '../../report/deafness.ts';
import { type CheckModule, checkOf, fine, unknownCheck, wrong } from '../check.ts';
import { latest } from '../evidence.ts';

/** A worker that is idle while messages wait in its queues has lost its broker without noticing. */
export const consuming: CheckModule = {
  id: 'consuming',
  title: 'consuming',
  proves:
    'No message waits in the queues of the worker while it is idle: it has not lost its broker.',
  doesNotProve: 'That its tasks succeed.',
  judge(seen) {
    const { unit } = latest(seen);
    const search = seen.consuming;
    if (search.kind === 'not-asked') return unknownCheck(consuming, `not asked: ${search.why}`);
    const { fact } = search;
    if (fact.kind === 'unknown') return unknownCheck(consuming, `not known: ${fact.problem}`);
    const deaf = describeDeafness(fact);
    if (deaf === null) return checkOf(consuming, [fine('no message is left waiting')]);
    const next = `run deploy-worker, which restarts it, or \`systemctl restart ${unit.name}\``;
    const evidence =
      fact.kind === 'nothing'
        ? Object.entries(fact.waiting).map(([queue, count]) => `${queue}: ${count}`)
        : [];
    return checkOf(
      consuming,
      [wrong(deaf, 'a worker that takes the messages of its queues', next)],
      evidence,
    );
  },
};
