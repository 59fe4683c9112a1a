import { ConfigError, HostError } from '../model/errors.ts';
import type { TransactionFact } from '../model/facts.ts';
import type { Step } from '../model/outcome.ts';
import type { Agent } from '../ports/agent.ts';
import { formatInstant } from '../report/quantities.ts';
import type { Run } from './run.ts';

/**
 * Undoes an earlier deploy from the host's own journal.
 *
 * @throws ConfigError when the host knows no such transaction, or it is undone already
 * @throws HostError when a step could not be undone
 */
export async function rollBack(run: Run<'deploy-worker'>, agent: Agent): Promise<void> {
  const { inputs, reporter } = run;
  const id = inputs['roll-back'];
  const { transactions } = await agent.look({ transactions: {} });
  const found = requireDoable(id, transactions);
  const about = `transaction ${id} of ${formatInstant(found.startedAt)} (${found.holder})`;
  reporter.output('changed', 'false');
  reporter.output('transaction', '');
  if (inputs['dry-run']) {
    const sentence = `Dry run: ${about} would be undone; nothing was changed.`;
    reporter.info(sentence);
    run.summarize(agent, { subject: inputs.unit, sentence, checklist: [] });
    return;
  }
  const outcome = await reporter.group(`deploy-worker: undoing ${about}`, () =>
    agent.undo(id, run.meta(inputs.unit), run.onProgress()),
  );
  const lines = outcome.steps.map(({ op, message, status }) => ({
    done: status === 'undone',
    text: message === '' ? op : message,
    note: status === 'not-undone' ? 'could not be undone' : '',
  }));
  const whole = outcome.result === 'undone';
  const sentence = whole
    ? `Put back: ${about} is undone, and the worker is as it was before.`
    : `Not all of ${about} could be undone.`;
  reporter.output('changed', 'true');
  reporter.info(sentence);
  run.summarize(agent, { subject: inputs.unit, sentence, checklist: lines });
  if (!whole) {
    const said = (status: Step['status']) =>
      outcome.steps.filter((step) => step.status === status).map(({ message }) => message);
    throw new HostError(sentence, {
      step: `undo ${about}`,
      undone: said('undone'),
      left: said('not-undone'),
      next: `put right by hand what is left; the files as they were are in /var/lib/celeriac/transactions/${id}/backups on the host.`,
    });
  }
}

/** The newest are those that a person means. */
const shownTransactions = 5;

function requireDoable(id: string, transactions: readonly TransactionFact[]): TransactionFact {
  const found = transactions.find((one) => one.id === id);
  if (found === undefined) {
    const known = transactions.filter((one) => one.state === 'committed').map((one) => one.id);
    throw new ConfigError(
      'input roll-back',
      `the host knows no transaction ${id}`,
      known.length === 0
        ? 'a transaction of this host, which has none yet'
        : `one of ${known.slice(-shownTransactions).join(', ')}`,
    );
  }
  if (found.state === 'undone') {
    throw new ConfigError(
      'input roll-back',
      `transaction ${id} is undone already`,
      'a transaction that was committed',
    );
  }
  return found;
}
