import { HostError } from '../model/errors.ts';
import type { Step } from '../model/outcome.ts';
import { chooseRollBack } from '../plan/roll-back.ts';
import type { Agent } from '../ports/agent.ts';
import type { Run } from './run.ts';

/**
 * Undoes earlier deploys from the host's own journals: to the previous release, a named one, or a
 * single transaction.
 *
 * @throws ConfigError when the host knows no such release or transaction, or it is undone already
 * @throws HostError when a step could not be undone
 */
export async function rollBack(run: Run<'deploy-worker'>, agent: Agent): Promise<void> {
  const { inputs, reporter } = run;
  const { transactions, releases } = await run.look(agent, {
    transactions: {},
    releases: { unit: inputs.unit },
  });
  const chosen = chooseRollBack(inputs['roll-back'], releases, transactions);
  const { about } = chosen;
  reporter.output('changed', 'false');
  reporter.output('transaction', '');
  if (inputs['dry-run']) {
    const sentence = `Dry run: ${about} would be undone; nothing was changed.`;
    reporter.info(sentence);
    run.summarize(agent, { subject: inputs.unit, sentence, checklist: [] });
    return;
  }
  const outcome = await reporter.group(`deploy-worker: undoing ${about}`, () =>
    agent.undo(chosen.transactions, run.meta(inputs.unit), run.onProgress()),
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
      next: `put right by hand what is left; the files as they were are in /var/lib/celeriac/transactions/${outcome.transaction}/backups on the host.`,
    });
  }
}
