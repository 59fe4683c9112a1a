import { HostError } from '../model/errors.ts';
import type { UndoingFact } from '../model/facts/ledger.ts';
import type { Finding } from '../model/operation.ts';
import type { Outcome, Step } from '../model/outcome.ts';
import type { Agent } from '../ports/agent.ts';
import { nextAfterUndo } from '../report/failure.ts';
import { todosOf } from '../report/summary.ts';
import { renderUndoText } from '../report/undo-view.ts';
import type { Run } from './run.ts';

/** What to undo, with texts for people. */
export interface Undoing {
  /** `release 7`. */
  readonly about: string;
  /** `the worker is as it was before`. */
  readonly whole: string;
  readonly subject: string;
  readonly unit: string;
  /** Newest first. */
  readonly transactions: readonly string[];
  /** Of the release that must still run when they are undone; absent: that does not matter. */
  readonly newest?: string;
  /** What to report besides, by the steps that are undone. */
  readonly tell?: (steps: UndoingFact['steps']) => readonly Finding[];
}

/**
 * Undoes earlier transactions from the journals on the host, and reports.
 *
 * @throws HostError when a step could not be undone
 */
export async function undoTransactions(run: Run, agent: Agent, undoing: Undoing): Promise<void> {
  const { about, subject, unit, transactions, newest } = undoing;
  run.output('transaction', '');
  const steps = (await agent.look({ undoing: { transactions } })).undoing;
  const findings = undoing.tell?.(steps.flatMap((each) => each.steps)) ?? [];
  const text = renderUndoText(steps);
  await run.showDetails(`the plan${run.dryRun ? ' (dry run)' : ''}`, text.split('\n'));
  const report = (sentence: string, outcome: Outcome | null): void => {
    run.output('changed', String(outcome !== null));
    run.report(agent, {
      subject,
      sentence,
      checklist: (outcome?.steps ?? []).filter(isOfUndo).map(itemOf),
      plan: null,
      outcome,
      findings,
      extra: { details: [{ title: 'The plan', text, language: 'diff' }] },
    });
  };
  if (run.dryRun) {
    report(`Dry run: ${about} would be undone; nothing was changed.`, null);
    return;
  }
  const outcome = await run
    .group(`undoing ${about}`, () =>
      newest === undefined
        ? agent.undo(transactions, run.meta(unit), run.onProgress())
        : agent.undo(transactions, { ...run.meta(unit), unit }, run.onProgress(), newest),
    )
    .catch((error: unknown) => {
      // Refused, or the host no longer answers: this run knows of no change.
      run.output('changed', 'false');
      throw error;
    });
  const whole = outcome.result === 'undone';
  const todos = todosOf(outcome);
  const end = todos.length === 0 ? undoing.whole : todos.join('; ');
  const sentence = whole ? `Undone: ${about}; ${end}.` : `Not all of ${about} could be undone.`;
  report(sentence, outcome);
  if (!whole) {
    const said = (status: Step['status']) =>
      outcome.steps.filter((step) => step.status === status).map(({ message }) => message);
    throw new HostError(`not all of ${about} could be undone`, {
      step: `undo ${about}`,
      undone: said('undone'),
      left: said('not-undone'),
      next: nextAfterUndo(outcome),
    });
  }
}

/** Of a step that changed nothing, the message is still that of the way forward. */
const isOfUndo = ({ status }: Step): boolean => status === 'undone' || status === 'not-undone';

const itemOf = ({ op, message, status }: Step) => ({
  done: status === 'undone',
  text: message === '' ? op : message,
  note: status === 'not-undone' ? 'could not be undone' : '',
});
