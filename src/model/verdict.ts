/** One thing that verify looked at, with what it saw. */
export interface Check {
  /** Short and stable: `unit`, `limits`, `processes`, `strays`, `swap`, `oom`… */
  readonly id: string;
  readonly title: string;
  readonly state: 'passed' | 'failed' | 'warning' | 'skipped';
  /** One line: what was seen. */
  readonly seen: string;
  /** One line: what was expected; empty when it passed by itself. */
  readonly expected: string;
  /** Lines of proof: log lines, processes, values. */
  readonly evidence: readonly string[];
  /** What to do about it; empty when passed. */
  readonly next: string;
}

export interface Verdict {
  readonly healthy: boolean;
  readonly checks: readonly Check[];
}
