import * as core from '@actions/core';
import type { Reporter } from '../ports/reporter.ts';
import { sanitizeLogLine, stripControls, toOneLine } from '../report/escape.ts';
import type { FailureView } from '../report/failure.ts';

/**
 * Reports to a GitHub runner: log groups, annotations, the job summary, outputs. A part that cannot
 * be written never ends a run: it becomes one warning at the end.
 */
export class GithubReporter implements Reporter {
  #pendingSummary = '';
  /** Reason → the parts that could not be written. */
  readonly #unwritten = new Map<string, string[]>();
  /** Whether the last line on the terminal is one that the next one replaces. */
  #isLive = false;

  info(line: string): void {
    this.#endLive();
    core.info(sanitizeLogLine(line));
  }

  notice(message: string, title?: string): void {
    this.#endLive();
    core.notice(toOneLine(message), properties(title));
  }

  /** The whole message in the log, and an annotation where it belongs. */
  fail({ message: whole, annotation }: FailureView): void {
    const { title, message, file, line, column } = annotation;
    this.info(whole);
    core.error(message, {
      title,
      ...(file !== undefined && { file }),
      ...(line !== undefined && { startLine: line }),
      ...(column !== undefined && { startColumn: column }),
    });
  }

  warning(message: string, title?: string): void {
    this.#endLive();
    core.warning(toOneLine(message), properties(title));
  }

  error(message: string, title?: string): void {
    this.#endLive();
    core.error(toOneLine(message), properties(title));
  }

  group<T>(title: string, body: () => Promise<T>): Promise<T> {
    this.#endLive();
    return core.group(sanitizeLogLine(title), async () => {
      try {
        return await body();
      } finally {
        this.#endLive();
      }
    });
  }

  /** Shows a line until the next output, on a terminal. False: there is none, but a log. */
  live(line: string): boolean {
    const { isTTY, columns = 80 } = process.stdout;
    if (!isTTY) return false;
    // A line that wraps could not be replaced.
    const shown = toOneLine(line).slice(0, Math.max(columns - 1, 1));
    process.stdout.write(`${clearLine}${shown}`);
    this.#isLive = true;
    return true;
  }

  #endLive(): void {
    if (this.#isLive) process.stdout.write(clearLine);
    this.#isLive = false;
  }

  summary(markdown: string): void {
    // The renderers escape what comes from the host; this is the last gate.
    this.#pendingSummary += `${stripControls(markdown)}\n`;
  }

  output(name: string, value: string): void {
    this.attempt(`the output \`${name}\``, () => core.setOutput(name, stripControls(value)));
  }

  /** Writes a part of the report; {@link flush} warns of failures. */
  attempt(what: string, write: () => void): void {
    try {
      write();
    } catch (error) {
      this.#keep(what, error);
    }
  }

  /** Writes the job summary, if the runner supports it, and warns of parts that could not be written. */
  async flush(): Promise<void> {
    if (this.#pendingSummary !== '' && (process.env.GITHUB_STEP_SUMMARY ?? '') !== '') {
      try {
        await core.summary.addRaw(this.#pendingSummary).write();
      } catch (error) {
        this.#keep('the job summary', error);
      }
    }
    this.#pendingSummary = '';
    if (this.#unwritten.size > 0) {
      const parts = [...this.#unwritten].map(([why, what]) => `${what.join(', ')}: ${why}`);
      this.warning(
        `could not write ${parts.join('; ')}; this does not affect the result of the run`,
      );
    }
    this.#unwritten.clear();
  }

  #keep(what: string, error: unknown): void {
    const why = error instanceof Error ? error.message : String(error);
    this.#unwritten.set(why, [...(this.#unwritten.get(why) ?? []), what]);
  }
}

/** To the start of the line, and erases it. */
const clearLine = '\r\u001b[2K';

const properties = (title: string | undefined) =>
  title === undefined ? {} : { title: toOneLine(title) };
