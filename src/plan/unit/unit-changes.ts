import type { WorkerLine } from '../../celery/worker-line.ts';
import { splitWords } from '../../systemd/exec-line.ts';
import { redact } from '../../systemd/secrets.ts';
import type { UnitFile } from '../../systemd/unit-file.ts';

/** The differences between two unit texts, one for each setting. */
export function listChanges(
  before: UnitFile,
  after: UnitFile,
  call: readonly string[],
): readonly string[] {
  const keys = new Map<string, readonly [section: string, key: string]>();
  for (const { entries } of [before, after]) {
    for (const entry of entries) {
      if (entry.kind === 'assignment' && entry.section !== null) {
        keys.set(`${entry.section} ${entry.key}`, [entry.section, entry.key]);
      }
    }
  }
  return [...keys.values()].flatMap(([section, key]) => {
    const was = before.values(section, key).join(' ');
    const is = after.values(section, key).join(' ');
    if (was === is) return [];
    if (key === 'ExecStart') return call;
    if (key.startsWith('Exec')) {
      const kept = after.values(section, key);
      const gone = before.values(section, key).filter((value) => !kept.includes(value));
      return gone.map((value) => `${redact(`${key}=${value}`)} removed`);
    }
    if (is === '') return [`${key} removed`];
    if (['Environment', 'After', 'ReadWritePaths'].includes(key)) {
      const known = (splitWords(was) ?? []).map(({ text }) => text);
      const added = (splitWords(is) ?? []).filter(({ text }) => !known.includes(text));
      const shown = added.map(({ text }) => redact(text)).join(' ');
      return [shown === '' ? `${key} shortened` : `${key} with ${shown}`];
    }
    const [last, next] = [before.value(section, key), after.value(section, key)];
    return last === next ? [] : [`${key} ${last ?? 'unset'} → ${next}`];
  });
}

const perChildNames = [
  ['max-memory-per-child', 'maxMemoryPerChild'],
  ['max-tasks-per-child', 'maxTasksPerChild'],
  ['prefetch-multiplier', 'prefetchMultiplier'],
] as const;

export function describeCall(before: WorkerLine, after: WorkerLine): readonly string[] {
  const [was, is] = [before.call, after.call];
  const named = ({ concurrency, autoscale }: typeof was): string =>
    autoscale === null ? (concurrency ?? 'unset') : `${autoscale} (autoscale)`;
  const lists = ({ queues }: typeof was): string => queues?.join(',') ?? 'unset';
  const added = is.include.filter((module) => !was.include.includes(module));
  return [
    ...(named(was) === named(is) ? [] : [`concurrency ${named(was)} → ${named(is)}`]),
    ...(lists(was) === lists(is) ? [] : [`queues ${lists(was)} → ${lists(is)}`]),
    ...perChildNames.flatMap(([name, key]) =>
      was[key] === is[key] ? [] : [`${name} ${was[key] ?? 'unset'} → ${is[key] ?? 'unset'}`],
    ),
    ...added.map((module) => `${module} loaded`),
    ...(before.shell === 'waits' && after.shell === 'becomes' ? ['exec before celery'] : []),
  ];
}
