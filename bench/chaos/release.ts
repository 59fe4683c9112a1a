import type { Machine } from '../../sandbox/machine.ts';
import type { Clone } from '../../test/host/lib/clone.ts';
import type { Inputs } from '../../test/host/lib/inputs.ts';
import { IMPORTS_NUMBERED, numberedTasks, prepareFeed } from '../../test/host/lib/task-flow.ts';
import { BACKEND, SUPPORT, shell, UNIT, waitUntil } from '../../test/host/lib/worker.ts';

export const CHECKOUT = '/root/slideshow';

/** A release that changes everything: unit, code, dependencies. */
export interface Release {
  /** Its code writes this name to the log of the tasks. */
  readonly name: string;
  readonly commit: string;
  /** Version of the package that it needs. */
  readonly version: string;
  readonly memoryMax: string;
  readonly inputs: Inputs;
}

/**
 * The app as before Celeriac, with numbered tasks. The commit is the same each time. The environment
 * is written anew, because files of a container's image cannot be renamed on an overlay, or moved on
 * a full disk, unlike files on the disk of a server.
 */
const PREPARE = `
set -e
cp -a /srv/venv /srv/copy && rm -r /srv/venv && mv /srv/copy /srv/venv
sed -i 's/^appendonly no$/appendonly yes/' /etc/redis/redis.conf
systemctl restart redis-server
cd ${CHECKOUT}
cat <<'END' >>backend/celery_config.py
${IMPORTS_NUMBERED}END
export GIT_AUTHOR_DATE=2026-01-11T12:00:00Z GIT_COMMITTER_DATE=2026-01-11T12:00:00Z
git add --all
git commit -qm 'Numbered tasks'
systemctl restart ${UNIT}
`;

/** Prepares a fresh host: the app has numbered tasks, and Redis loses none in a power cut. */
export async function prepareHost(machine: Machine): Promise<void> {
  await machine.writeFile(`${BACKEND}/numbered.py`, numberedTasks('0'));
  await prepareFeed(machine);
  await shell(machine, PREPARE);
  await waitUntilServing(machine);
}

/** Commits a release that differs from the previous one in everything. */
export function makeRelease(clone: Clone, number: number): Release {
  const version = `${(number % 3) + 1}.0`;
  const memoryMax = `${700 + (number % 90)}M`;
  const commit = clone.commit(`Release ${number}`, {
    'backend/numbered.py': numberedTasks(String(number)),
    'backend/requirements.txt': `--no-index\n--find-links /srv/wheels\nprobe-package==${version}\n`,
    [`backend/pages/page_${number % 4}.py`]: `NUMBER = ${number}\n`,
  });
  return {
    name: String(number),
    commit,
    version,
    memoryMax,
    inputs: {
      source: 'git',
      requirements: 'backend/requirements.txt',
      'dependencies-timeout': '3m',
      concurrency: '1',
      'memory-max': memoryMax,
      'memory-high': '600M',
      'longest-task': '60s',
      'min-healthy-time': '2s',
      watchdog: '40s',
      'orphaned-jobs': 'fail',
      'restore-unacked': 'true',
    },
  };
}

/** Makes the support module look like that of an older version, so that the next deploy changes it. */
export async function ageSupportModule(machine: Machine): Promise<void> {
  await shell(
    machine,
    `sed -i '/^# older/d' ${SUPPORT} && echo "# older $(date +%s%N)" >>${SUPPORT} && systemctl restart ${UNIT}`,
  );
  await waitUntilServing(machine);
}

/** Waits for the worker's own message: before that it would not take a task. */
async function waitUntilServing(machine: Machine): Promise<void> {
  const isReady = `main=$(systemctl show -P MainPID ${UNIT}); pgrep -P "$main" >/dev/null && journalctl -q _PID="$main" --grep=' ready\\.$' >/dev/null`;
  await waitUntil('the worker is ready', async () => {
    return (await machine.run(isReady, { allowFailure: true })).code === 0;
  });
}
