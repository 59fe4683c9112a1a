import { ConfigError, GateError, HostError } from '../model/errors.ts';
import type { Operation } from '../model/operation.ts';
import type { Deed, Outcome, Step, StepFailure } from '../model/outcome.ts';
import { sanitizeLogLine, stripControls, toOneLine } from './escape.ts';
import { todosOf } from './summary.ts';

/** Where the failure happened; named in the first line. */
export interface FailureContext {
  /** `deploy-worker`. */
  readonly action: string;
  /** As the user gave it; absent while it is unknown. */
  readonly host?: string;
}

export interface FailureView {
  /** For the log, several lines: what happened, where, evidence, what was undone, what to do next. */
  readonly message: string;
  /** One line each. `file`, `line` and `column` when the error is in a file of the repository. */
  readonly annotation: {
    readonly title: string;
    readonly message: string;
    readonly file?: string;
    readonly line?: number;
    readonly column?: number;
  };
}

/** Evidence lines shown in the log message. */
const shownEvidence = 40;
const shownCharacters = 1000;

/** Renders any error that ended a run: one readable message, one annotation, never a stack trace. */
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
 * @throws RangeError when the outcome is committed, which is not a failure
 */
export function outcomeToHostError(
  outcome: Outcome,
  operations: readonly Pick<Operation, 'op' | 'title'>[],
): HostError {
  if (outcome.result === 'committed') throw new RangeError('a committed outcome is not a failure');
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
  return new HostError(failure?.message ?? 'the transaction did not finish', {
    step,
    ...commandOf(failure),
    evidence: failure?.evidence ?? [],
    undone: linesOf('undone'),
    left: linesOf('not-undone'),
    next: adviseOn(outcome, nextAfter(outcome, operation?.op)),
  });
}

/** Describes how the host ended an interrupted transaction, for the run that found it. */
export function describeDeed(deed: Deed): { readonly message: string; readonly whole: boolean } {
  const whole = deed.result === 'undone';
  const left = deed.steps.filter(({ status }) => status === 'not-undone');
  const end = whole
    ? 'It has been undone, and this run continues.'
    : `Not all of it could be undone: ${left.map(({ message }) => message).join('; ')}.`;
  return {
    message: `Transaction ${deed.transaction} did not finish: ${deed.why}. ${end}`,
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

/** What to do, and how the host is meanwhile; an empty `host`: nothing is said of it. */
interface Advice {
  readonly advice: string;
  readonly host?: 'nothing needs to be done on the host' | 'the host is as it was before';
}

/** First what is left on the host: then it is not said that nothing is. */
function adviseOn(outcome: Outcome, { advice, host }: Advice): string {
  const todos = todosOf(outcome);
  if (todos.length > 0) return `${todos.join('; ')}. Then ${advice}.`;
  return host === undefined ? `${advice}.` : `${advice}; ${host}.`;
}

/** Operations whose backups are files: a checkout, for instance, has none. */
const backedUp: ReadonlySet<string> = new Set<Operation['op']>([
  'write-file',
  'install-unit',
  'remove-file',
]);

/** What to do by hand after an undo that failed. */
export const nextAfterUndo = (outcome: Outcome): string => `${wayAfterUndo(outcome)}.`;

function wayAfterUndo({ transaction, steps }: Outcome): string {
  const left = steps.filter(({ status }) => status === 'not-undone');
  const files = left.some(({ op }) => backedUp.has(op))
    ? `; the original files are in /var/lib/celeriac/transactions/${transaction}/backups on the host`
    : '';
  const broker = brokerOf(left.map(({ message }) => message));
  const begin = broker === null ? '' : `${startBroker(broker)}; then `;
  return `${begin}fix the steps listed under "not undone" by hand${files}`;
}

/** The broker that a worker waited for to its end, as Celery logs it; `null`: none. */
function brokerOf(messages: readonly string[]): string | null {
  const found = messages.map((text) => /\bCannot connect to (\S+?):(?=\s|$)/.exec(text)?.[1]);
  return found.find((each) => each !== undefined) ?? null;
}

const startBroker = (broker: string): string =>
  `start the broker ${broker}, or correct the broker URL of the app: a worker that waits for it connects by itself`;

/** What to do next, by the operation that failed; where the backups are when the undo failed, too. */
function nextAfter(outcome: Outcome, verb: Operation['op'] | undefined): Advice {
  if (outcome.result === 'undo-failed') return { advice: wayAfterUndo(outcome) };
  const host = 'nothing needs to be done on the host';
  switch (verb) {
    case 'try-app':
      // The app was imported, and it is its settings or its broker that are refused.
      if (outcome.failure?.ran === undefined) {
        return { advice: 'do what the evidence says, then run again', host };
      }
      return {
        advice:
          "make sure that the app can be imported with the worker's interpreter, user and directory, then run again",
        host,
      };
    case 'verify-unit':
      return { advice: 'fix the settings that systemd rejects, then run again', host };
    case 'start-unit':
    case 'prove-unit': {
      const broker = brokerOf([outcome.failure?.message ?? '']);
      const cause = broker === null ? 'fix the cause shown in the evidence' : startBroker(broker);
      return { advice: `${cause}, then run again`, host };
    }
    case 'stop-unit':
      return {
        advice:
          'a task may be running longer than the timeout: wait for it or raise the timeout, then run again',
      };
    case 'make-swap':
      return { advice: 'free some disk space or choose a smaller swap file, then run again' };
    case 'write-file':
    case 'remove-file':
    case 'install-unit':
      return {
        advice:
          'if someone changed the file in the meantime, run again: the new plan starts from the current file',
      };
    default:
      return {
        advice: 'fix the cause shown in the evidence, then run again',
        host: 'the host is as it was before',
      };
  }
}

function renderConfigError(error: ConfigError, context: FailureContext): FailureView {
  const place = /^(.+\.ya?ml):(\d+)(?::(\d+))?$/.exec(error.where);
  const message = compose(context, error.message, [
    ['where', [error.where]],
    ['expected', [error.expected]],
    ['next', ['fix it and run again; nothing was changed on the host.']],
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
    ['not undone', left],
    ['next', [withStop(failure.next)]],
  ]);
  const lastLine = evidence.findLast((line) => line.trim() !== '');
  const parts = [
    `${failure.step}.`,
    ...(lastLine === undefined ? [] : [withStop(shorten(lastLine))]),
    ...(left.length > 0 ? [`Not undone: ${withStop(left.join('; '))}`] : []),
    `Next: ${withStop(failure.next)}`,
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
  return undone.length === 0 ? ['nothing; no changes had been made.'] : undone;
}

function renderGateError(error: GateError, context: FailureContext): FailureView {
  const message = compose(context, error.message, [
    ['host', context.host === undefined ? [] : [context.host]],
    ['check', [error.check]],
    ['evidence', error.evidence],
    ['next', [withStop(error.next)]],
  ]);
  const lastLine = error.evidence.findLast((line) => line.trim() !== '');
  const parts = [
    `Check ${error.check} failed.`,
    ...(lastLine === undefined ? [] : [withStop(shorten(lastLine))]),
    `Next: ${withStop(error.next)}`,
  ];
  return {
    message,
    annotation: { title: titleOf(context, error.message), message: toOneLine(parts.join(' ')) },
  };
}

function renderUnknown(error: unknown, context: FailureContext): FailureView {
  const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const problem = `unexpected error: ${shorten(toOneLine(what))}`;
  const advice = 'this is a bug in Celeriac; please report it with this message.';
  return {
    message: compose(context, problem, [
      ['host', context.host === undefined ? [] : [context.host]],
      ['next', [advice]],
    ]),
    annotation: { title: titleOf(context, problem), message: `Next: ${advice}` },
  };
}

/** `action: problem.`, then each field on one line, or as a block when it has several lines. */
function compose(
  context: FailureContext,
  problem: string,
  fields: readonly (readonly [label: string, lines: readonly string[]])[],
): string {
  const lines = [`${toOneLine(context.action)}: ${withStop(problem)}`];
  for (const [label, raw] of fields) {
    const all = raw.flatMap((text) => stripControls(text).split('\n'));
    const filled = all.filter((line) => line.trim() !== '');
    // The last lines matter most: the message of an exception comes after its traceback.
    const shown = filled.slice(-shownEvidence).map((line) => shorten(line.trimEnd()));
    const hidden = filled.length - shown.length;
    if (hidden > 0) shown.unshift(`… (${hidden} earlier lines)`);
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

/** An argv as a person would type it; for display only, never run. */
function showCommand(argv: readonly string[]): string {
  return argv
    .map((word) =>
      /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`,
    )
    .join(' ');
}
