import type { Plan } from '../model/operation.ts';
import type { Progress } from '../model/outcome.ts';
import { formatDuration } from '../model/quantities.ts';
import { renderProbes } from './probe-progress.ts';

/** The host's progress as a line of the log; with `plan`, its steps are numbered. `null`: no line. */
export function renderProgress(progress: Progress, plan?: Plan): string | null {
  switch (progress.kind) {
    case 'step-started': {
      const place = plan === undefined ? '' : `${progress.index + 1}/${plan.operations.length} `;
      return `${place}${progress.title}`;
    }
    case 'step-ended': {
      const { status, message, seconds } = progress.step;
      return `  ${status}: ${message} (${formatDuration(seconds)})`;
    }
    case 'note':
      return `  ${progress.message}`;
    case 'probes':
      return `  ${renderProbes(progress)}`;
    case 'chunk':
    case 'opened':
      return null;
  }
}
