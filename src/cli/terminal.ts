import { sanitizeLogLine } from '../report/escape.ts';

/** Output of a command: results on stdout, progress on stderr. */
export interface Terminal {
  out(text: string): void;
  note(line: string): void;
  /** Clears the screen; missing where the output is no screen. */
  readonly clear?: () => void;
  /** Asks the person; missing where nobody can answer. */
  readonly ask?: Ask;
}

/** Returns what the person typed; empty at the end of the input. */
export type Ask = (question: string) => Promise<string>;

/** Text from a host or a database must not control the terminal, or the runner that shows it. */
export const guardTerminal = (terminal: Terminal): Terminal => ({
  out: (text) => terminal.out(sanitizeLogLine(text)),
  note: (line) => terminal.note(sanitizeLogLine(line)),
  ...(terminal.clear !== undefined && { clear: terminal.clear }),
  ...(terminal.ask !== undefined && { ask: askSafely(terminal.ask) }),
});

const askSafely =
  (ask: Ask): Ask =>
  (question) =>
    ask(sanitizeLogLine(question));
