import type { Plan } from '../model/operation.ts';
import type { Progress } from '../model/outcome.ts';
import { formatDuration } from '../report/quantities.ts';

/** Where a command speaks: results on stdout, what goes on meanwhile on stderr. */
export interface Terminal {
  out(text: string): void;
  note(line: string): void;
}

/** Tells what the host streams; `plan` is what its steps are counted in. */
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
