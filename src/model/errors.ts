/**
 * The three ways in which a run fails. Each is rendered as one readable message and one annotation.
 * `next` says what the user should do.
 */

/** An input is invalid, and the user has to fix it. The host was not changed. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  /** The input that is at fault, or `file:line:column`. */
  readonly where: string;
  /** What a valid value looks like. */
  readonly expected: string;
  /** Other inputs that make it invalid: where it is not written itself, one of these is. */
  readonly because: readonly string[];

  constructor(where: string, problem: string, expected: string, options: ConfigErrorOptions = {}) {
    super(problem, options);
    this.where = where;
    this.expected = expected;
    this.because = options.because ?? [];
  }
}

interface ConfigErrorOptions extends ErrorOptions {
  readonly because?: readonly string[];
}

export interface HostFailure {
  /** Title of the operation or step that failed, for people. */
  readonly step: string;
  /** The command that failed, as argv, if there was one. */
  readonly ran?: readonly string[];
  /** `null`: killed by a signal, or unknown. */
  readonly exitCode?: number | null;
  /** The last lines of its stderr, or of the unit's journal. */
  readonly evidence?: readonly string[];
  /** What was undone, one line each; empty if nothing had been changed. */
  readonly undone?: readonly string[];
  /** What could not be undone, one line each. */
  readonly left?: readonly string[];
  /** What the user should do next. */
  readonly next: string;
}

/** The host could not be reached, or an operation on it failed. */
export class HostError extends Error {
  override readonly name = 'HostError';
  readonly failure: HostFailure;

  constructor(message: string, failure: HostFailure, options?: ErrorOptions) {
    super(message, options);
    this.failure = failure;
  }
}

/** The host works, but the verdict is bad: a check or the gate failed. */
export class GateError extends Error {
  override readonly name = 'GateError';
  readonly check: string;
  readonly evidence: readonly string[];
  readonly next: string;
  /** An earlier run found the same and told of it; this one only fails again. */
  readonly isOld: boolean;

  constructor(
    check: string,
    problem: string,
    evidence: readonly string[],
    next: string,
    { isOld = false }: { readonly isOld?: boolean } = {},
  ) {
    super(problem);
    this.check = check;
    this.evidence = evidence;
    this.next = next;
    this.isOld = isOld;
  }
}
