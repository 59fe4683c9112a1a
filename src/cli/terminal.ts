/** Output of a command: results on stdout, progress on stderr. */
export interface Terminal {
  out(text: string): void;
  note(line: string): void;
}
