import * as core from '@actions/core';
import type { Reporter } from '../ports/reporter.ts';
import { sanitizeLogLine, toOneLine } from '../report/escape.ts';

/** Reports to a GitHub runner: log groups, annotations, the job summary, outputs. */
export class GithubReporter implements Reporter {
  #pendingSummary = '';

  info(line: string): void {
    core.info(sanitizeLogLine(line));
  }

  notice(message: string, title?: string): void {
    core.notice(toOneLine(message), properties(title));
  }

  warning(message: string, title?: string): void {
    core.warning(toOneLine(message), properties(title));
  }

  error(message: string, title?: string): void {
    core.error(toOneLine(message), properties(title));
  }

  group<T>(title: string, body: () => Promise<T>): Promise<T> {
    return core.group(sanitizeLogLine(title), body);
  }

  summary(markdown: string): void {
    this.#pendingSummary += `${markdown}\n`;
  }

  output(name: string, value: string): void {
    core.setOutput(name, value);
  }

  /** Writes the job summary, if the runner supports it. */
  async flush(): Promise<void> {
    if (this.#pendingSummary !== '' && (process.env.GITHUB_STEP_SUMMARY ?? '') !== '') {
      await core.summary.addRaw(this.#pendingSummary).write();
    }
    this.#pendingSummary = '';
  }
}

const properties = (title: string | undefined) => (title === undefined ? {} : { title });
