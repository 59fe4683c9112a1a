import { HostError } from '../model/errors.ts';
import type { Step } from '../model/outcome.ts';
import type { Agent } from '../ports/agent.ts';
import type { Run } from './run.ts';

/** What to undo, with texts for people. */
export interface Undoing {
  readonly action: 'deploy-worker' | 'cleanup';
  /** `release 7`. */
  readonly about: string;
  /** `the worker is as it was before`. */
  readonly whole: string;
  readonly subject: string;
  readonly unit: string;
  /** Newest first. */
  readonly transactions: readonly string[];
  readonly dryRun: boolean;
}

/**
 * Undoes earlier transactions from the journals on the host, and reports.
 *
 * @throws HostError when a step could not be undone
 */
export async function undoTransactions(
  run: Pick<Run<'deploy-worker'>, 'reporter' | 'meta' | 'onProgress' | 'summarize'>,
  agent: Agent,
  undoing: Undoing,
): Promise<void> {
  const { reporter } = run;
  const { about, subject, unit } = undoing;
  reporter.output('changed', 'false');
  reporter.output('transaction', '');
  if (undoing.dryRun) {
    const sentence = `Dry run: ${about} would be undone; nothing was changed.`;
    reporter.info(sentence);
    run.summarize(agent, { subject, sentence, checklist: [] });
    return;
  }
  const outcome = await reporter.group(`${undoing.action}: undoing ${about}`, () =>
    agent.undo(undoing.transactions, run.meta(unit), run.onProgress()),
  );
  const lines = outcome.steps.map(({ op, message, status }) => ({
    done: status === 'undone',
    text: message === '' ? op : message,
    note: status === 'not-undone' ? 'could not be undone' : '',
  }));
  const whole = outcome.result === 'undone';
  const sentence = whole
    ? `Undone: ${about}; ${undoing.whole}.`
    : `Not all of ${about} could be undone.`;
  reporter.output('changed', 'true');
  reporter.info(sentence);
  run.summarize(agent, { subject, sentence, checklist: lines });
  if (!whole) {
    const said = (status: Step['status']) =>
      outcome.steps.filter((step) => step.status === status).map(({ message }) => message);
    throw new HostError(sentence, {
      step: `undo ${about}`,
      undone: said('undone'),
      left: said('not-undone'),
      next: `fix what is listed under "not undone" by hand; the original files are in /var/lib/celeriac/transactions/${outcome.transaction}/backups on the host.`,
    });
  }
}
