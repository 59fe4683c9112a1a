/**
 * The three ways in which a run ends red. Each renders to one readable message and one annotation.
 * `next` says what the person should do.
 */

/** What is asked for is wrong: the person's to mend. The host was not touched. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  /** The input, or `file:line:column`, the fault is in. */
  readonly where: string;
  /** What would have been right. */
  readonly expected: string;

  constructor(where: string, problem: string, expected: string, options?: ErrorOptions) {
    super(problem, options);
    this.where = where;
    this.expected = expected;
  }
}

export interface HostFailure {
  /** Title of the operation or step that failed, in words for people. */
  readonly step: string;
  /** The command that ran, as argv, where one did. */
  readonly ran?: readonly string[];
  /** Exit code; `null` when it was ended by a signal or never came. */
  readonly exitCode?: number | null;
  /** The last lines it wrote to stderr, or of the unit's journal. */
  readonly evidence?: readonly string[];
  /** What was undone, one line each; empty when nothing had been changed. */
  readonly undone?: readonly string[];
  /** What could not be undone, one line each. */
  readonly left?: readonly string[];
  /** What the person should do next. */
  readonly next: string;
}

/** The host could not be reached, or would not do what was asked. */
export class HostError extends Error {
  override readonly name = 'HostError';
  readonly failure: HostFailure;

  constructor(message: string, failure: HostFailure, options?: ErrorOptions) {
    super(message, options);
    this.failure = failure;
  }
}

/** The host does what was asked, and it is not good enough: a check or the gate failed. */
export class GateError extends Error {
  override readonly name = 'GateError';
  readonly check: string;
  readonly evidence: readonly string[];
  readonly next: string;

  constructor(check: string, problem: string, evidence: readonly string[], next: string) {
    super(problem);
    this.check = check;
    this.evidence = evidence;
    this.next = next;
  }
}
