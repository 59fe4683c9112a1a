import type { Plan } from '../model/operation.ts';
import type { Progress } from '../model/outcome.ts';
import { formatDuration } from '../report/quantities.ts';

/** Output of a command: results on stdout, progress on stderr. */
export interface Terminal {
  out(text: string): void;
  note(line: string): void;
}

/** Prints the host's progress; with `plan`, its steps are numbered. */
export function progressTo(terminal: Terminal, plan?: Plan): (progress: Progress) => void {
  return (progress) => {
    if (progress.kind === 'note') terminal.note(`  ${progress.message}`);
    if (progress.kind === 'step-started') {
      const place = plan === undefined ? '' : `${progress.index + 1}/${plan.operations.length} `;
      terminal.note(`${place}${progress.title}`);
    }
    if (progress.kind === 'step-ended') {
      const { status, message, seconds } = progress.step;
      terminal.note(`  ${status}: ${message} (${formatDuration(seconds)})`);
    }
  };
}
