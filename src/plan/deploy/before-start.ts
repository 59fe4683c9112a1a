import type { DeployWorkerDesired } from '../../config/deploy-worker-desired.ts';
import type { ByTheApp } from '../../model/operation/app.ts';
import type { RunCommand } from '../../model/operation/code.ts';
import { formatDuration } from '../../model/quantities.ts';
import type { Trial } from '../code/release-plan.ts';

/** The commands of `before-start`, with the new code. */
export function runBeforeStart(
  own: ByTheApp,
  trial: Trial,
  { beforeStart }: DeployWorkerDesired,
): readonly RunCommand[] {
  if (beforeStart === undefined) return [];
  const { commands, timeoutSeconds } = beforeStart;
  const instead = trial.when === 'prepared' ? trial.instead : null;
  return commands.map((argv) => ({
    op: 'run-command',
    unit: own.unit,
    interpreter: own.interpreter,
    argv,
    ...(instead !== null && { instead }),
    timeoutSeconds,
    title: `run \`${argv.join(' ')}\``,
    why: `\`before-start\`: within ${formatDuration(timeoutSeconds)}, else the old worker stays; a rollback does not undo what it does`,
  }));
}
