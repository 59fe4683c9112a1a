import type { DeployWorkerDesired } from '../../config/deploy-worker-desired.ts';
import { ConfigError } from '../../model/errors.ts';
import { redact } from '../../systemd/secrets.ts';
import type { Assignment } from '../../systemd/unit-entry.ts';
import { parseUnitFile, type UnitFile } from '../../systemd/unit-file.ts';
import type { UnitPart } from '../../systemd/unit-stack.ts';
import { holds, pythonPaths, written } from './python-path.ts';
import type { Setting } from './unit-settings.ts';

/** @param beaten the file that these drop-ins are read after */
export function checkDropIns(
  dropIns: readonly UnitPart[],
  beaten: string,
  settings: readonly Setting[],
  desired: DeployWorkerDesired,
): void {
  for (const { path, text } of dropIns) {
    const file = parseUnitFile(text);
    const refuse = (entry: Assignment, expected: string): never => {
      throw new ConfigError(
        'input unit',
        `${path}:${file.lineOf(entry)} sets ${redact(`${entry.key}=${entry.value}`)}, which overrides ${beaten}`,
        `${expected}; then run \`systemctl daemon-reload\``,
      );
    };
    const [exec] = file.assignments('Service', 'ExecStart');
    if (exec) {
      // Beside the drop-in, the file may have another command: without it, another one would run.
      const other =
        desired.unitMode === 'drop-in' ? '' : '; or `unit-mode: drop-in`, which keeps both';
      refuse(
        exec,
        `ExecStart= in ${beaten} only: move its command there and remove it from ${path}${other}`,
      );
    }
    for (const { section, key, value, accepts, others } of settings) {
      const spellings = [[section, key] as const, ...others];
      for (const [otherSection, other] of spellings) {
        const entry = file.assignments(otherSection, other).at(-1);
        if (entry && !accepts(entry.value === '' ? null : entry.value)) {
          refuse(
            entry,
            value === null ? `no ${other}= in ${path}` : `${other}=${value}, or no such line`,
          );
        }
      }
    }
    const both = file.assignments('Service', 'TimeoutSec').at(-1);
    if (both) refuse(both, 'TimeoutStartSec= and TimeoutStopSec= instead');
    checkDropInPath(file, path, desired.supportDirectory, refuse);
    const paths = file.assignments('Service', 'ReadWritePaths').find(({ value }) => value === '');
    if (paths && desired.hardening === 'standard') {
      refuse(
        paths,
        `no empty ReadWritePaths= in ${path}: it removes the paths that the worker needs`,
      );
    }
  }
}

function checkDropInPath(
  file: UnitFile,
  path: string,
  directory: string,
  refuse: (entry: Assignment, expected: string) => never,
): void {
  const all = file.assignments('Service', 'Environment');
  const last = pythonPaths(all).at(-1);
  if (last && !holds(last.assignment.text, directory)) {
    refuse(last.entry, `${written(directory)} in its PYTHONPATH, or no PYTHONPATH in ${path}`);
  }
  const reset = all.findLast(({ value }) => value === '');
  if (reset && !(last && all.indexOf(last.entry) > all.indexOf(reset))) {
    refuse(reset, `no empty Environment= in ${path}: it removes PYTHONPATH`);
  }
}
