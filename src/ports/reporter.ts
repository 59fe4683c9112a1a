/** Where a run reports: the log, annotations, the job summary, outputs. */
export interface Reporter {
  info(line: string): void;
  notice(message: string, title?: string): void;
  warning(message: string, title?: string): void;
  error(message: string, title?: string): void;
  group<T>(title: string, body: () => Promise<T>): Promise<T>;
  /** Appends Markdown to the job summary. */
  summary(markdown: string): void;
  output(name: string, value: string): void;
}
