import type { DeployWorkerDesired } from '../../config/deploy-worker-desired.ts';
import type { ByTheApp, RunCommand } from '../../model/operation.ts';
import { formatDuration } from '../../report/quantities.ts';
import type { Trial } from '../code/release-plan.ts';

/** The commands of `before-start`, with the new code. */
export function runBeforeStart(
  own: ByTheApp,
  trial: Trial,
  { beforeStart }: DeployWorkerDesired,
): readonly RunCommand[] {
  const instead = trial.when === 'prepared' ? trial.instead : null;
  return (beforeStart?.commands ?? []).map((argv) => ({
    op: 'run-command',
    unit: own.unit,
    interpreter: own.interpreter,
    argv,
    ...(instead !== null && { instead }),
    timeoutSeconds: beforeStart?.timeoutSeconds as RunCommand['timeoutSeconds'],
    title: `run \`${argv.join(' ')}\``,
    why: `\`before-start\`: within ${formatDuration(beforeStart?.timeoutSeconds as RunCommand['timeoutSeconds'])}, else the old worker stays; a roll-back does not undo what it does`,
  }));
}
