import { sanitizeLogLine } from '../report/escape.ts';
import { paint } from './paint.ts';

/** Output of a command: results on stdout, progress on stderr. */
export interface Terminal {
  out(text: string): void;
  note(line: string): void;
  /** Clears the screen; missing where the output is no screen. */
  readonly clear?: () => void;
  /** Asks the person; missing where nobody can answer. */
  readonly ask?: Ask;
  /** Which of them show colours; missing: neither. */
  readonly colours?: { readonly out: boolean; readonly note: boolean };
}

/** Returns what the person typed; empty at the end of the input. */
export type Ask = (question: string) => Promise<string>;

/** Text from a host or a database must not control the terminal, or the runner that shows it. */
export function guardTerminal(terminal: Terminal): Terminal {
  const { colours, clear, ask } = terminal;
  const show = (text: string, isColoured = false): string =>
    isColoured ? paint(sanitizeLogLine(text)) : sanitizeLogLine(text);
  return {
    out: (text) => terminal.out(show(text, colours?.out)),
    note: (line) => terminal.note(show(line, colours?.note)),
    ...(clear !== undefined && { clear }),
    ...(ask !== undefined && { ask: (question: string) => ask(sanitizeLogLine(question)) }),
  };
}
