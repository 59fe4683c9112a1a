import { type AppProcess, appProcessOf } from '../../celery/app-process.ts';
import type { WorkerLine } from '../../celery/worker-line.ts';
import type { DeployWorkerDesired } from '../../config/deploy-worker-desired.ts';
import { ConfigError } from '../../model/errors.ts';
import type { UnitFact } from '../../model/facts/unit.ts';
import { isSupportFolder } from '../../systemd/support-module.ts';

/**
 * How to import the app once the unit has this line.
 *
 * @throws ConfigError when the unit does not show the app, or its program does not exist
 */
export function requireAppProcess(
  unit: UnitFact,
  line: WorkerLine,
  path: string,
  desired: DeployWorkerDesired,
): AppProcess & { kind: 'known' } {
  const { app, supportDirectory } = desired;
  const own = appProcessOf(unit, { line, app, supportDirectory });
  if (own.kind === 'known') return own;
  const [problem, expected] = describeMissing(own, line, path);
  throw new ConfigError('input unit', problem, expected);
}

/**
 * The Python of the worker without the folder of the support module, which differs between versions
 * of Celeriac; it has no effect on what is installed.
 */
export function interpreterAlone(interpreter: readonly string[]): readonly string[] {
  const words = interpreter.flatMap((word) => {
    if (!/^PYTHONPATH=/.test(word)) return [word];
    const folders = word.slice('PYTHONPATH='.length).split(':');
    const own = folders.filter((one) => !isSupportFolder(one) && !one.includes('$'));
    return own.length === 0 ? [] : [`PYTHONPATH=${own.join(':')}`];
  });
  const isBare = words[0] === '/usr/bin/env' && (words[1] ?? '').startsWith('/');
  return isBare ? words.slice(1) : words;
}

function describeMissing(
  own: AppProcess & { kind: 'unknown' },
  line: WorkerLine,
  path: string,
): readonly [problem: string, expected: string] {
  if (own.missing === 'program') {
    return [
      `ExecStart= in ${path} runs ${own.program}, which is not on the host`,
      'the path of the celery executable of the app',
    ];
  }
  if (own.missing === 'python') {
    return [
      `which Python the worker has cannot be told from ${own.from} in ExecStart= of ${path}`,
      'the path of the celery executable itself, e.g. /srv/app/venv/bin/celery',
    ];
  }
  const written = line.call.app;
  return [
    written === null
      ? `ExecStart= in ${path} does not name the app`
      : `ExecStart= in ${path} names the app by a variable (-A ${written})`,
    '`-A module` with the name of the app itself in ExecStart=',
  ];
}
