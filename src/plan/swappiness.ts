import { ConfigError } from '../model/errors.ts';
import type { SysctlFact } from '../model/facts/host.ts';
import type { FactAnswers } from '../model/facts.ts';
import type { Finding, Operation } from '../model/operation.ts';
import { unifiedDiff } from './text-diff.ts';

/** Sorts after Debian's `99-sysctl.conf`, the link to /etc/sysctl.conf (sysctl.d(5)). */
export const sysctlFile = '/etc/sysctl.d/99-zz-celeriac.conf';

type SwappinessFacts = Pick<FactAnswers, 'host' | 'sysctl' | 'files'>;

/** What the plan has so far. */
interface Planned {
  readonly operations: Operation[];
  readonly satisfied: string[];
  readonly findings: Finding[];
  readonly unmet: string[];
}

/** Sets the current value and the one that applies at the next boot. */
export function planSwappiness(
  facts: SwappinessFacts,
  swappiness: number,
  { operations, satisfied, findings, unmet }: Planned,
): void {
  const name = 'vm.swappiness';
  const wanted = String(swappiness);
  const now = facts.sysctl.values[name] ?? null;
  const persistent = persistentSetting(facts.sysctl, name);
  if (persistent?.value === wanted && now === wanted) {
    satisfied.push(`swappiness: ${wanted}, also after a reboot (${persistent.path})`);
    return;
  }
  if (now !== wanted && facts.sysctl.readOnly.includes(name)) {
    unmet.push(name);
    findings.push({
      level: 'warning',
      lasting: true,
      message: `swappiness: left at ${now ?? 'an unknown value'}; /proc/sys is read-only in this container (${facts.host.container ?? 'of an unknown kind'}), so only its host can set ${name}.`,
    });
    return;
  }
  if (persistent?.value !== wanted) {
    operations.push(writeSysctlFile(facts, name, wanted, persistent));
  }
  if (now !== wanted) {
    operations.push({
      op: 'set-sysctl',
      name,
      value: wanted,
      title: `set ${name} to ${wanted}`,
      why: `it is ${now ?? 'unknown'} now`,
    });
  }
}

type Setting = SysctlFact['settings'][number];

/** The setting that wins at boot: the last one. */
function persistentSetting(sysctl: SysctlFact, name: string): Setting | undefined {
  return sysctl.settings.filter((setting) => setting.name === name).at(-1);
}

function writeSysctlFile(
  facts: SwappinessFacts,
  name: string,
  wanted: string,
  persistent: Setting | undefined,
): Operation {
  const file = facts.files[sysctlFile] ?? { kind: 'absent' };
  if (file.kind === 'symlink' || file.kind === 'other') {
    throw new ConfigError('host', `${sysctlFile} is not a regular file`, 'a regular file, or none');
  }
  if (persistent !== undefined && persistent.path > sysctlFile) {
    throw new ConfigError(
      'input swappiness',
      `${persistent.path}:${persistent.line} sets ${name} to ${persistent.value} and is read after ${sysctlFile}`,
      `that line removed, or swappiness ${persistent.value}`,
    );
  }
  const before = file.kind === 'file' ? file.text : null;
  const text = `# Written by Celeriac (provision): swap is for emergencies, memory first.\n${name} = ${wanted}\n`;
  return {
    op: 'write-file',
    path: sysctlFile,
    text,
    mode: '0644',
    expects: file.kind === 'file' ? file.sha256 : null,
    title: `keep ${name} at ${wanted} after a reboot`,
    why:
      persistent === undefined
        ? 'no file sets it'
        : `${persistent.path}:${persistent.line} sets it to ${persistent.value}`,
    diff: unifiedDiff(sysctlFile, before, text),
  };
}
