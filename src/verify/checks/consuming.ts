import type { Check } from '../../model/verdict.ts';
import { describeDeafness } from '../../report/deafness.ts';
import { checkOf, fine, skippedCheck, wrong } from '../check.ts';
import type { ConsumingSearch, VerifyFacts } from '../evidence.ts';

/** A worker that is idle while messages wait in its queues has lost its broker without noticing. */
export function checkConsuming({ unit }: VerifyFacts, search: ConsumingSearch): Check {
  const [id, title] = ['consuming', 'consuming'];
  if (search.kind === 'not-asked') return skippedCheck(id, title, `not asked: ${search.why}`);
  const { fact } = search;
  if (fact.kind === 'unknown') return skippedCheck(id, title, `not known: ${fact.problem}`);
  const deaf = describeDeafness(fact);
  if (deaf === null) return checkOf(id, title, [fine('no message waits that it leaves')]);
  const next = `run deploy-worker, which restarts it, or \`systemctl restart ${unit.name}\``;
  const evidence =
    fact.kind === 'nothing'
      ? Object.entries(fact.waiting).map(([queue, count]) => `${queue}: ${count}`)
      : [];
  return checkOf(
    id,
    title,
    [wrong(deaf, 'a worker that takes the messages of its queues', next)],
    evidence,
  );
}
