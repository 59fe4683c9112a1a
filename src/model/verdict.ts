/** The result of one check of verify. */
export interface Check {
  /** Short and stable: `unit`, `limits`, `processes`, `strays`, `swap`, `oom`… */
  readonly id: string;
  readonly title: string;
  readonly state: 'passed' | 'failed' | 'warning' | 'skipped';
  /** One line: what was seen. */
  readonly seen: string;
  /** One line: what was expected; empty when passed. */
  readonly expected: string;
  /** Log lines, processes, values. */
  readonly evidence: readonly string[];
  /** What to do about it; empty when passed. */
  readonly next: string;
}

export interface Verdict {
  readonly healthy: boolean;
  readonly checks: readonly Check[];
}
