import { quote } from '../../report/shell-commands.ts';
import { describeStarter, type LooseWorker, type Starter } from './find-workers.ts';

/**
 * How what runs now is stopped, after its tasks, so that it does not come back: for each way in which
 * copies were started.
 *
 * @param ask a command that runs Celery's own commands, as the worker runs
 */
export function stopSteps(copies: readonly LooseWorker[], ask: string): readonly string[] {
  const byStarter = new Map<string, LooseWorker[]>();
  for (const copy of copies) {
    const key = describeStarter(copy.starter);
    byStarter.set(key, [...(byStarter.get(key) ?? []), copy]);
  }
  return [...byStarter.values()].flatMap(([first, ...more]) => {
    if (first === undefined) return [];
    const ends = howItEnds(first.starter);
    return [...(ends === null ? [] : [drainStep(ends, ask)]), stopStep(first, [first, ...more])];
  });
}

/** What a manager does to tasks when it stops the worker; `null`: a person stops it. */
function howItEnds({ kind }: Starter): string | null {
  switch (kind) {
    case 'supervisor':
      return 'supervisor kills the worker after `stopwaitsecs`, by default 10 s';
    case 'service':
    case 'user-service':
      return 'unless its KillMode= says otherwise, systemd stops children with their tasks at once, and after TimeoutStopSec=, by default 90 s, it kills what is left';
    default:
      return null;
  }
}

/** Managers do not wait as long as a task takes. */
const drainStep = (ends: string, ask: string): string =>
  `the next step does not wait for tasks: ${ends}. So first let it finish them, as root: \`ask() { ${ask} "$@"; }\`; \`ask inspect active_queues\` shows the name of its node and its queues; \`ask control -d NODE cancel_consumer QUEUE\` for each queue, after which it takes no more (nor does any other worker of this name, even of another app); wait until \`ask inspect -d NODE active\` and \`ask inspect -d NODE reserved\` answer, and list no task. If no node answers, continue only while no task is running`;

function stopStep({ process, starter }: LooseWorker, copies: readonly LooseWorker[]): string {
  const pids = copies.map((copy) => copy.process.pid);
  const once = pids.length === 1 ? 'it once its tasks are' : 'each copy once its tasks are';
  const stop = `\`kill -TERM ${pids.join(' ')}\` stops ${once} done; wait until \`ps -p ${pids.join(',')}\` lists nothing`;
  switch (starter.kind) {
    case 'login':
      return stop;
    case 'terminal':
      return `${stop}; then end the session in ${starter.program}, if nothing else runs there`;
    case 'cron':
      return `remove its line (\`@reboot …\`) from the crontab: \`crontab -e -u ${quote(process.user)}\`, or a file in /etc/cron.d; then ${stop}`;
    case 'rc-local':
      return `remove its line from /etc/rc.local; then ${stop}`;
    case 'supervisor':
      return '`supervisorctl status` names it: `supervisorctl stop NAME`, then remove its section from the configuration of supervisor, and `supervisorctl update`';
    case 'service':
      return `\`systemctl disable --now ${quote(starter.unit)}\`, if it runs nothing else (\`systemctl status ${quote(starter.unit)}\` lists its processes)`;
    case 'user-service':
      return `as user ${process.user}: \`systemctl --user disable --now ${quote(starter.unit)}\``;
  }
}
