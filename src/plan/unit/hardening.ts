import { atHome } from '../../celery/shell-scene.ts';
import type { WorkerLine } from '../../celery/worker-line.ts';
import type { DeployWorkerDesired } from '../../config/deploy-worker-desired.ts';
import type { Finding } from '../../model/operation.ts';
import { isExpanded, splitWords } from '../../systemd/exec-line.ts';
import type { UnitFile } from '../../systemd/unit-file.ts';
import type { UnitSource } from './unit-source.ts';

/**
 * The profile `standard`: restrictions that a Celery worker can live with and that hinder most
 * attacks. See docs/decisions/004-hardening.md.
 */

/** Switches that the profile sets, besides `ProtectSystem=strict` and the paths. */
export function hardenedFlags(sharedTmp: boolean): readonly string[] {
  return [
    'NoNewPrivileges',
    // A broker's socket in /tmp would be hidden.
    ...(sharedTmp ? [] : ['PrivateTmp']),
    'ProtectKernelTunables',
    'ProtectKernelModules',
    'ProtectKernelLogs',
    'RestrictSUIDSGID',
  ];
}

const tmp = /^\/(?:var\/)?tmp(?:\/|$)/;
const namesTmp = /(?:^|[\s"'=,:;/])\/(?:var\/)?tmp(?=\/|$|[\s"'])/;

/** Whether the unit shows that the worker shares files or sockets in /tmp with others. */
export function sharesTmp(file: UnitFile, desired: DeployWorkerDesired): boolean {
  return (
    desired.readWritePaths.some((path) => tmp.test(path)) ||
    ['ExecStart', 'Environment', 'WorkingDirectory', 'BindPaths'].some((key) =>
      file.values('Service', key).some((value) => namesTmp.test(value)),
    )
  );
}

/**
 * The paths that the worker must be able to write to: its directory (code, database, uploads), the
 * folders of files on its command line, and the requested ones.
 */
export function writablePaths(
  line: WorkerLine,
  { workingDirectory, home }: Pick<UnitSource, 'workingDirectory' | 'home'>,
  sharedTmp: boolean,
  desired: DeployWorkerDesired,
): readonly string[] {
  const { call } = line;
  const folders = call.files
    .map((path) => atHome(path, home))
    .filter((path) => path.startsWith('/'))
    .map((path) => path.slice(0, path.lastIndexOf('/')) || '/');
  const own = [
    workingDirectory.replace(/^!/, '').replace(/^~$/, '$HOME'),
    call.workingDirectory ?? '',
    ...folders,
  ].map((path) => atHome(path, home));
  const all = [
    ...own.filter((path) => path.startsWith('/') && path !== '/' && !isExpanded(path)),
    ...desired.readWritePaths,
    ...(sharedTmp ? ['/tmp', '/var/tmp'] : []),
  ];
  return [...new Set(all)].filter((path) => !all.some((other) => isBelow(path, other)));
}

const isBelow = (path: string, other: string): boolean => path.startsWith(`${other}/`);

/** The effective paths of `ReadWritePaths=`. */
export function readWritePathsOf(file: UnitFile): readonly string[] {
  return file
    .values('Service', 'ReadWritePaths')
    .flatMap((value) => (splitWords(value) ?? []).map(({ text }) => text));
}

export function addReadWritePaths(file: UnitFile, paths: readonly string[]): UnitFile {
  const present = readWritePathsOf(file).map((path) => path.replace(/^[-+]+/, ''));
  const missing = paths.filter(
    (path) => !present.some((other) => other === path || isBelow(path, other)),
  );
  if (missing.length === 0) return file;
  return file.add('Service', 'ReadWritePaths', [missing.join(' ')], 'ProtectSystem');
}

/** What `systemctl show` prints for these paths; `null`: not predictable. */
export function printPaths(paths: readonly string[]): string | null {
  return paths.every((path) => /^[-+]*(?:\/[A-Za-z0-9._@:+-]+)+$/.test(path))
    ? paths.join(' ')
    : null;
}

export function describeHardening(
  desired: DeployWorkerDesired,
  sharedTmp: boolean,
): readonly Finding[] {
  if (desired.hardening === 'off' || !sharedTmp) return [];
  return [
    {
      level: 'notice',
      lasting: true,
      message:
        'the worker uses files in /tmp, which it may share with others: PrivateTmp= is left out of the hardening',
    },
  ];
}
