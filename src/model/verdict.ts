/** `unknown`: what the check needs could not be read. It never counts as passed. */
export type CheckVerdict = 'pass' | 'warn' | 'fail' | 'unknown';

/** The result of one check of verify. */
export interface Check {
  /** Short and stable: `unit`, `limits`, `processes`, `strays`, `swap`, `oom`… */
  readonly id: string;
  readonly title: string;
  readonly verdict: CheckVerdict;
  /** One line: what was seen; for `unknown`, why it is not known. */
  readonly seen: string;
  /** One line: what was expected; empty when passed. */
  readonly expected: string;
  /** Log lines, processes, values. */
  readonly evidence: readonly string[];
  /** What to do about it; empty when passed. */
  readonly next: string;
}

/**
 * `inconclusive`: no check failed, but one without which nothing is proven is unknown. It does not
 * confirm a release.
 */
export type Conclusion = 'healthy' | 'unhealthy' | 'inconclusive';

export interface Verdict {
  readonly conclusion: Conclusion;
  readonly checks: readonly Check[];
}
