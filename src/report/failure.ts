import { ConfigError, GateError, HostError } from '../model/errors.ts';
import type { Operation } from '../model/operation.ts';
import type { Deed, Outcome, Step, StepFailure } from '../model/outcome.ts';
import { sanitizeLogLine, stripControls, toOneLine } from './escape.ts';

/** Where the failure happened: names for its first line. */
export interface FailureContext {
  /** `deploy-worker`. */
  readonly action: string;
  /** As the user gave it; absent while it is not known. */
  readonly host?: string;
}

export interface FailureView {
  /** For the log, of several lines: what happened, where, evidence, what was undone, what next. */
  readonly message: string;
  /** One line each. `file`, `line` and `column` where the fault is in a file of the repository. */
  readonly annotation: {
    readonly title: string;
    readonly message: string;
    readonly file?: string;
    readonly line?: number;
    readonly column?: number;
  };
}

/** Evidence lines in the log message; all of it stands in the job summary. */
const shownEvidence = 40;
const shownCharacters = 1000;

/** Renders whatever ended a run: one readable message, one annotation, never a stack trace. */
export function renderFailure(error: unknown, context: FailureContext): FailureView {
  if (error instanceof ConfigError) return renderConfigError(error, context);
  if (error instanceof HostError) return renderHostError(error, context);
  if (error instanceof GateError) return renderGateError(error, context);
  return renderUnknown(error, context);
}

/**
 * The error of a transaction that did not commit.
 *
 * @param operations the plan that was applied, for the titles
 * @throws RangeError when the outcome is committed: that is no failure
 */
export function outcomeToHostError(
  outcome: Outcome,
  operations: readonly Pick<Operation, 'op' | 'title'>[],
): HostError {
  if (outcome.result === 'committed') throw new RangeError('a committed outcome is no failure');
  const line = (step: Step): string => {
    const title = operations[step.index]?.title ?? step.op;
    return step.message === '' || step.message === title ? title : `${title}: ${step.message}`;
  };
  const linesOf = (status: Step['status']): readonly string[] =>
    outcome.steps
      .filter((step) => step.status === status)
      .toSorted((a, b) => b.index - a.index)
      .map(line);
  const { failure } = outcome;
  const operation = failure === undefined ? undefined : operations[failure.index];
  const step = operation?.title ?? 'the transaction';
  return new HostError(failure?.message ?? 'the transaction did not come to its end', {
    step,
    ...commandOf(failure),
    evidence: failure?.evidence ?? [],
    undone: linesOf('undone'),
    left: linesOf('not-undone'),
    next: nextAfter(outcome, operation?.op),
  });
}

/** What the host made of something that was cut short: for the run that found it so. */
export function describeDeed(deed: Deed): { readonly message: string; readonly whole: boolean } {
  const whole = deed.result === 'undone';
  const left = deed.steps.filter(({ status }) => status === 'not-undone');
  const end = whole
    ? 'it is put back now, and this run goes on'
    : `not all of it could be put back: ${left.map(({ message }) => message).join('; ')}`;
  return {
    message: `Transaction ${deed.transaction} had not ended: ${deed.why}. ${end[0]?.toUpperCase()}${end.slice(1)}.`,
    whole,
  };
}

function commandOf(failure: StepFailure | undefined): {
  readonly ran?: readonly string[];
  readonly exitCode?: number | null;
} {
  return {
    ...(failure?.ran === undefined ? {} : { ran: failure.ran }),
    ...(failure?.exitCode === undefined ? {} : { exitCode: failure.exitCode }),
  };
}

/** Advice by the verb that failed; the journal of the transaction when the undo failed, too. */
function nextAfter(outcome: Outcome, verb: Operation['op'] | undefined): string {
  if (outcome.result === 'undo-failed') {
    return `put right by hand what is left; the files as they were are in /var/lib/celeriac/transactions/${outcome.transaction}/backups on the host.`;
  }
  switch (verb) {
    case 'try-app':
      return 'make the app import with the interpreter, user and directory of the worker, then run again; the host needs nothing.';
    case 'verify-unit':
      return 'mend the settings that systemd does not take, then run again; the host needs nothing.';
    case 'start-unit':
    case 'prove-unit':
      return 'mend what the evidence names, then run again; the host needs nothing.';
    case 'stop-unit':
      return 'a task may run longer than the time-out: wait for it or raise the time-out, then run again.';
    case 'make-swap':
      return 'free some disk space or ask for a smaller swap file, then run again.';
    case 'write-file':
    case 'remove-file':
    case 'install-unit':
      return 'if someone changed the file meanwhile, run again: the plan is then made from the file as it is now.';
    default:
      return 'mend what the evidence names, then run again; the host is as it was before.';
  }
}

function renderConfigError(error: ConfigError, context: FailureContext): FailureView {
  const place = /^(.+\.ya?ml):(\d+)(?::(\d+))?$/.exec(error.where);
  const message = compose(context, error.message, [
    ['where', [error.where]],
    ['expected', [error.expected]],
    ['next', ['mend it and run again; the host was not touched.']],
  ]);
  return {
    message,
    annotation: {
      title: titleOf(context, error.message),
      message: `${toOneLine(error.where)}: expected ${withStop(error.expected)}`,
      ...(place?.[1] === undefined ? {} : { file: place[1] }),
      ...(place?.[2] === undefined ? {} : { line: Number(place[2]) }),
      ...(place?.[3] === undefined ? {} : { column: Number(place[3]) }),
    },
  };
}

function renderHostError(error: HostError, context: FailureContext): FailureView {
  const { failure } = error;
  const evidence = failure.evidence ?? [];
  const left = failure.left ?? [];
  const message = compose(context, error.message, [
    ['host', context.host === undefined ? [] : [context.host]],
    ['step', [failure.step]],
    ['ran', failure.ran === undefined ? [] : [`${showCommand(failure.ran)}${exitOf(failure)}`]],
    ['evidence', evidence],
    ['undone', undoneOf(failure.undone, left)],
    ['left', left],
    ['next', [failure.next]],
  ]);
  const lastLine = evidence.findLast((line) => line.trim() !== '');
  const parts = [
    `${failure.step}.`,
    ...(lastLine === undefined ? [] : [withStop(shorten(lastLine))]),
    ...(left.length > 0 ? [`Not undone: ${withStop(left.join('; '))}`] : []),
    `Next: ${failure.next}`,
  ];
  return {
    message,
    annotation: { title: titleOf(context, error.message), message: toOneLine(parts.join(' ')) },
  };
}

function undoneOf(
  undone: readonly string[] | undefined,
  left: readonly string[],
): readonly string[] {
  if (undone === undefined || (undone.length === 0 && left.length > 0)) return [];
  return undone.length === 0 ? ['nothing: nothing had been changed.'] : undone;
}

function renderGateError(error: GateError, context: FailureContext): FailureView {
  const message = compose(context, error.message, [
    ['host', context.host === undefined ? [] : [context.host]],
    ['check', [error.check]],
    ['evidence', error.evidence],
    ['next', [error.next]],
  ]);
  const lastLine = error.evidence.findLast((line) => line.trim() !== '');
  const parts = [
    `Check ${error.check} failed.`,
    ...(lastLine === undefined ? [] : [withStop(shorten(lastLine))]),
    `Next: ${error.next}`,
  ];
  return {
    message,
    annotation: { title: titleOf(context, error.message), message: toOneLine(parts.join(' ')) },
  };
}

function renderUnknown(error: unknown, context: FailureContext): FailureView {
  const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const problem = `stopped by something unforeseen: ${shorten(toOneLine(what))}`;
  const advice = 'this is a fault in Celeriac; please report it with this message.';
  return {
    message: compose(context, problem, [
      ['host', context.host === undefined ? [] : [context.host]],
      ['next', [advice]],
    ]),
    annotation: { title: titleOf(context, problem), message: `Next: ${advice}` },
  };
}

/** `action: problem.`, then each field on one line, or as a block when it has several. */
function compose(
  context: FailureContext,
  problem: string,
  fields: readonly (readonly [label: string, lines: readonly string[]])[],
): string {
  const lines = [`${toOneLine(context.action)}: ${withStop(problem)}`];
  for (const [label, raw] of fields) {
    const all = raw.flatMap((text) => stripControls(text).split('\n'));
    const filled = all.filter((line) => line.trim() !== '');
    // The last lines are those that tell: an exception's message stands below its traceback.
    const shown = filled.slice(-shownEvidence).map((line) => shorten(line.trimEnd()));
    const hidden = filled.length - shown.length;
    if (hidden > 0) shown.unshift(`… (${hidden} lines before)`);
    if (shown.length === 1) lines.push(`  ${label}: ${shown[0]?.trimStart()}`);
    else if (shown.length > 1) lines.push(`  ${label}:`, ...shown.map((line) => `    ${line}`));
  }
  return sanitizeLogLine(lines.join('\n'));
}

const titleOf = (context: FailureContext, problem: string): string =>
  shorten(`${toOneLine(context.action)}: ${withStop(problem).replace(/\.$/, '')}`, 200);

function withStop(text: string): string {
  const line = toOneLine(text);
  return /[.!?…]$/.test(line) ? line : `${line}.`;
}

const shorten = (text: string, limit = shownCharacters): string =>
  text.length > limit ? `${text.slice(0, limit)}…` : text;

function exitOf(failure: { readonly exitCode?: number | null }): string {
  if (failure.exitCode === undefined) return '';
  return failure.exitCode === null ? ' (no exit code)' : ` (exit ${failure.exitCode})`;
}

/** An argv as one would type it; only for people, never run. */
function showCommand(argv: readonly string[]): string {
  return argv
    .map((word) =>
      /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`,
    )
    .join(' ');
}
