import { HostError } from '../model/errors.ts';
import type { UnackedFact } from '../model/facts/broker.ts';
import type { Plan } from '../model/operation.ts';
import type { Outcome } from '../model/outcome.ts';
import type { Agent } from '../ports/agent.ts';
import { describeRestart, mayHaveLeft } from '../report/restart.ts';
import type { Told } from './carry-out.ts';

/**
 * What deploy-worker reports about a restart. After a release that ran and failed it looks for messages
 * that this left in the broker, by the app that is back.
 *
 * @param outcome `null`: nothing was done
 */
export async function tellRestart(
  agent: Pick<Agent, 'look'>,
  plan: Plan,
  outcome: Outcome | null,
): Promise<Told> {
  if (outcome === null)
    return { sentence: '', findings: [], outputs: { downtime: '', result: '', 'confirm-by': '' } };
  const unacked = mayHaveLeft(outcome) ? await lookForUnacked(agent, plan) : null;
  const { downtimeSeconds, sentence, findings } = describeRestart(outcome, unacked);
  const downtime = String(downtimeSeconds ?? '');
  const { result, confirmBy = '' } = outcome;
  const outputs = { downtime, result, 'confirm-by': String(confirmBy) };
  return { sentence, findings, outputs };
}

/** By the app of the plan's own step; `null`: the plan has none. */
async function lookForUnacked(
  agent: Pick<Agent, 'look'>,
  { operations }: Plan,
): Promise<UnackedFact | null> {
  const asking = operations.find(
    (each) => each.op === 'find-unacked' || each.op === 'restore-unacked',
  );
  if (asking === undefined) return null;
  const { unit, interpreter, app, pythonPath } = asking;
  try {
    const { unacked } = await agent.look({ unacked: { unit, interpreter, app, pythonPath } });
    return unacked;
  } catch (error) {
    // Whatever keeps it from looking must not hide why the deploy failed.
    if (!(error instanceof HostError)) throw error;
    const message = `could not look for them: ${error.message.replace(/\.$/, '')}`;
    return { kind: 'unknown', message };
  }
}
