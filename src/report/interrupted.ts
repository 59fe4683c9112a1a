import type { ClockSkew } from '../model/clock-skew.ts';
import type {
  LedgerRelease,
  PastFact,
  ReleasesFact,
  TransactionFact,
} from '../model/facts/ledger.ts';
import { formatInstant } from '../model/quantities.ts';
import type { EpochSeconds } from '../model/units.ts';
import { codeSpan, escapeMarkdown, sanitizeLogLine, toOneLine } from './escape.ts';
import { presentRelease, releaseStates } from './release-words.ts';
import { quote } from './shell-commands.ts';

/** A run that was interrupted, as far as it could say so itself. */
export interface InterruptedRun {
  /** `deploy-worker`. */
  readonly action: string;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** The worker that it was about; `null`: the host. */
  readonly unit: string | null;
  /** Who asked, as the host's ledger names it. */
  readonly holder: string;
  /** By the clock of the runner. Other attempts and steps of the same run have the same holder. */
  readonly began: EpochSeconds;
  /** Those that it saw begin, or their undo. */
  readonly transactions: readonly string[];
}

/** What the host says of itself afterwards. */
export interface HostAfter {
  readonly past: PastFact;
  readonly transactions: readonly TransactionFact[];
  /** Of the unit, if the run was about one. */
  readonly releases: ReleasesFact | null;
  /** `active (running)`; `null`: the run was about no unit. */
  readonly worker: string | null;
  /** `null`: not compared. */
  readonly clockSkew: ClockSkew | null;
}

/** Rendered for the log, as an annotation, for somebody who is told elsewhere, and for the job summary. */
export interface InterruptedView {
  readonly message: string;
  /** One line. */
  readonly annotation: string;
  /** One line, which names neither action nor host first. */
  readonly sentence: string;
  readonly markdown: string;
}

type Line = readonly [label: string, text: string];

/** The guard looks every 20 s: a test compares. */
export const guardSeconds = 30;
const goesOn = 'it continues on the host, without this run, until it is committed or undone';
const undoes = `the host begins to undo it by itself within ${guardSeconds} s`;
const timer = 'celeriac-guard.timer';
/** Between a clock that was read before the host was asked, and that of the transaction. */
const slackSeconds = 1;

/** Says in which state a run has left the host that could not say it itself, and what to do next. */
export function describeInterrupted(run: InterruptedRun, host: HostAfter): InterruptedView {
  const own = ownTransactions(run, host);
  const isGuarded = host.releases?.guarded ?? null;
  const states = own.map((each) => describeTransaction(each, host, isGuarded));
  const others = host.past.open.filter(({ id }) => own.every((each) => each.id !== id));
  const waiting = host.past.awaiting.filter(({ unit }) => run.unit === null || unit === run.unit);
  const awaiting = waiting.map(
    ({ unit, transactions, deadline }) =>
      `the release of ${unit} (transaction ${transactions.join(', ')}) awaits its verdict: unless verify confirms it by ${formatInstant(deadline)}, ${returnsBy(isGuarded)}`,
  );
  const needsGuard = host.past.open.length > 0 || awaiting.length > 0;
  const unguarded = needsGuard && isGuarded === false;
  const lines: Line[] = [
    ...(host.worker === null ? [] : [['worker', host.worker] as const]),
    ...(host.releases === null ? [] : [['release', describeRelease(host.releases)] as const]),
    ...(states.length > 0 ? states : describeNone(run, host)).map(
      (text) => ['transaction', text] as const,
    ),
    ...others.map((each) => ['also', describeTransaction(each, host, isGuarded)] as const),
    ...awaiting.map((text) => ['verdict', text] as const),
    ...(unguarded ? [['guard', 'the timer on the host that does this is off'] as const] : []),
    ['next', nextAfter(run, host, { own, isAwaiting: awaiting.length > 0, unguarded })],
  ];
  return render(run, `the state of ${run.host} after it`, lines);
}

/**
 * The same where nobody could look: what the host does whether or not anybody does.
 *
 * @param problem why nobody could
 */
export function describeUnseen(run: InterruptedRun, problem: string): InterruptedView {
  const names = run.transactions.join(', ');
  const begun =
    run.transactions.length > 0
      ? `transaction ${names} had begun: ${goesOn}`
      : 'if the host had begun to change anything, that continues there until it is committed or undone';
  const died = `if its process ends before that, ${undoes}, also after a reboot; a release that nobody confirms is rolled back when its time is over; both only while ${timer} is enabled there`;
  return render(run, `the state of ${run.host} is unknown`, [
    ['why', problem],
    ['transaction', `${begun}; ${died}`],
    ['next', `when the host can be reached: ${statusCommand(run)}`],
  ]);
}

/** Those that it saw begin; else the newest that the host has of it, which it may not have seen. */
function ownTransactions(run: InterruptedRun, host: HostAfter): readonly TransactionFact[] {
  const { transactions: all, clockSkew } = host;
  if (run.transactions.length > 0) {
    return all.filter(({ id }) => run.transactions.includes(id));
  }
  const { ahead, within } = clockSkew ?? { ahead: 0, within: 0 };
  const began = run.began + ahead - within - slackSeconds;
  const unseen = all.findLast(
    ({ holder, action, unit, startedAt }) =>
      holder === run.holder &&
      action === run.action &&
      (run.unit === null || unit === run.unit) &&
      startedAt >= began,
  );
  return unseen === undefined ? [] : [unseen];
}

/** A verify changes a host by none of its own, unless its soak rolls back. */
function describeNone(run: InterruptedRun, host: HostAfter): readonly string[] {
  if (run.transactions.length > 0) {
    return [`${run.transactions.join(', ')} is no longer on record`];
  }
  if (run.action === 'verify') return [];
  return [
    mayHaveUndone(run, host) ? 'none of this run' : 'none of this run, so it changed nothing there',
  ];
}

/** A run also undoes those of others: what it has found unfinished, or was asked to undo. */
function mayHaveUndone({ holder }: InterruptedRun, { past, transactions }: HostAfter): boolean {
  const { working, open } = past;
  const isAtWork = working === null ? open.length > 0 : working.startsWith(holder);
  return isAtWork || transactions.some(({ undoneBy }) => undoneBy === holder);
}

/** @param isGuarded `null`: nobody asked */
function undoesBy(isGuarded: boolean | null): string {
  if (isGuarded === null) return `${undoes} if ${timer} is enabled there`;
  return isGuarded ? undoes : 'nothing undoes it until the workflow runs again';
}

/** @param isGuarded `null`: nobody asked */
function returnsBy(isGuarded: boolean | null): string {
  const returns = 'the host rolls it back by itself';
  if (isGuarded === null) return `${returns} if ${timer} is enabled there`;
  return isGuarded
    ? returns
    : 'it must be rolled back, which nothing does until the workflow runs again';
}

function describeTransaction(
  about: TransactionFact,
  { past }: HostAfter,
  isGuarded: boolean | null,
): string {
  const { id, startedAt, action, state, undoneBy, undoneWhy } = about;
  const name = `${id} of ${formatInstant(startedAt)} (${action})`;
  switch (state) {
    case 'open':
      return past.working === null
        ? `${name} was interrupted on the host; ${undoesBy(isGuarded)}`
        : `${name} is in progress, held by ${past.working}; ${goesOn}`;
    case 'committed':
      return `${name} is committed`;
    case 'undone':
    case 'undo-failed': {
      const end = state === 'undone' ? 'was undone' : 'was undone, but not completely';
      const by = undoneBy === '' ? '' : ` by ${undoneBy}`;
      return `${name} ${end}${by}${undoneWhy === '' ? '' : `: ${undoneWhy}`}`;
    }
  }
}

function describeRelease(releases: ReleasesFact): string {
  const present: LedgerRelease | null = presentRelease(releases);
  if (present === null) return 'none of Celeriac';
  const { release, sha, at, actor, state } = present;
  const commit = sha === '' ? '' : ` (${sha.slice(0, 12)})`;
  const who = actor === '' ? '' : ` by ${actor}`;
  return `${release}${commit} of ${formatInstant(at)}${who}: ${releaseStates[state]}`;
}

function nextAfter(
  run: InterruptedRun,
  { past }: HostAfter,
  about: {
    readonly own: readonly TransactionFact[];
    readonly isAwaiting: boolean;
    readonly unguarded: boolean;
  },
): string {
  if (about.own.some(({ state }) => state === 'undo-failed')) {
    return `fix by hand what could not be undone; to see the state of the worker: ${statusCommand(run)}`;
  }
  if (about.unguarded) {
    return 'run the workflow again: it undoes what is unfinished, and arms the timer';
  }
  if (past.open.length > 0) {
    return `nothing needs to be done on the host; to see how it ended: ${statusCommand(run)}`;
  }
  if (about.isAwaiting) {
    return 'nothing needs to be done on the host; to keep the release, run verify before that time';
  }
  return 'nothing needs to be done on the host; run the workflow again if it is still wanted';
}

/** A command that a person can paste. */
function statusCommand({ host, port, user, unit }: InterruptedRun): string {
  const words = ['celeriac', 'status', '--host', quote(host)];
  if (port !== 22) words.push('--port', String(port));
  if (user !== 'root') words.push('--user', quote(user));
  if (unit !== null) words.push('--unit', quote(unit));
  return words.join(' ');
}

function render(run: InterruptedRun, what: string, lines: readonly Line[]): InterruptedView {
  const cutOff = `was interrupted before it could report; ${what}`;
  const head = `${run.action} ${cutOff}:`;
  const clean = lines.map(([label, text]) => [label, toOneLine(text)] as const);
  const inOneLine = clean.map(([label, text]) => `${label}: ${text}.`).join(' ');
  return {
    message: sanitizeLogLine(
      [head, ...clean.map(([label, text]) => `  ${label}: ${text}`)].join('\n'),
    ),
    annotation: toOneLine(`${run.action} ${cutOff}. ${inOneLine}`),
    sentence: toOneLine(`${cutOff}. ${inOneLine}`),
    markdown: [
      `### ${escapeMarkdown(run.action)} was interrupted`,
      escapeMarkdown(`It could not report. ${what[0]?.toUpperCase()}${what.slice(1)}:`),
      clean.map(([label, text]) => `- **${label}**: ${markdownOf(text)}`).join('\n'),
    ].join('\n\n'),
  };
}

/** A command stays one that can be pasted. */
function markdownOf(text: string): string {
  const at = text.indexOf('celeriac status ');
  return at < 0
    ? escapeMarkdown(text)
    : `${escapeMarkdown(text.slice(0, at))}${codeSpan(text.slice(at))}`;
}
