import { splitWords } from '../../systemd/exec-line.ts';
import type { UnitFile } from '../../systemd/unit-file.ts';
import type { Setting } from './unit-settings.ts';

/**
 * Celeriac's own drop-in. It goes by its first name, and by the second one where another drop-in
 * that is read later, e.g. `override.conf`, would beat it (docs/decisions/005-drop-ins.md).
 */
export const dropInNames = ['celeriac.conf', 'zz-celeriac.conf'] as const;

/** The paths at which a unit may have a drop-in of ours. */
export function ownDropIns(unit: string): readonly string[] {
  return dropInNames.map((name) => `/etc/systemd/system/${unit}.d/${name}`);
}

const header = [
  '# Written by Celeriac (deploy-worker), and written anew when the unit below it changes.',
  '# To undo it, delete this file, `systemctl daemon-reload`, and restart the unit.',
];

/** What a list gains is said alone; systemd adds it to what is there. */
const addedTo = ['After', 'Environment', 'ReadWritePaths'];

/**
 * The drop-in that makes one unit of another; `null` when nothing has to be said.
 *
 * @param before what it is laid over
 * @param after what systemd is to read in all
 * @param settings those whose value must not depend on which of two spellings is read last
 */
export function renderDropIn(
  before: UnitFile,
  after: UnitFile,
  settings: readonly Setting[],
): string | null {
  const sections = ['Unit', 'Service'].flatMap((section) => {
    const lines = keysOf(section, after, before).flatMap((key) =>
      renderKey(section, key, before, after, settings),
    );
    return lines.length === 0 ? [] : ['', `[${section}]`, ...lines];
  });
  return sections.length === 0 ? null : `${[...header, ...sections].join('\n')}\n`;
}

function keysOf(section: string, ...files: readonly UnitFile[]): readonly string[] {
  const keys = files.flatMap(({ entries }) =>
    entries.flatMap((entry) =>
      entry.kind === 'assignment' && entry.section === section ? [entry.key] : [],
    ),
  );
  return [...new Set(keys)];
}

function renderKey(
  section: string,
  key: string,
  before: UnitFile,
  after: UnitFile,
  settings: readonly Setting[],
): readonly string[] {
  const was = before.values(section, key);
  const is = after.values(section, key);
  const setting = settings.find((one) => one.section === section && one.key === key);
  const spelling = settings.find(({ others }) =>
    others.some(([otherSection, other]) => otherSection === section && other === key),
  );
  // A setting by another name is beaten by our line, but for one that must not be set at all.
  if (spelling) return spelling.value === null ? [`${key}=${spelling.off}`] : [];
  // TimeoutSec= is both: which of them counts depends on the order of lines.
  const both = key.startsWith('Timeout') && before.assignments('Service', 'TimeoutSec').length > 0;
  const clashes = setting?.others.some(
    ([otherSection, other]) => before.assignments(otherSection, other).length > 0,
  );
  const same = was.length === is.length && was.every((value, at) => value === is[at]);
  if (key === 'TimeoutSec' || (same && !both && !clashes)) return [];
  if (addedTo.includes(key)) {
    const known = was.flatMap(words);
    const added = is.flatMap(words).filter((word) => !known.includes(word));
    return added.length === 0 ? [] : [`${key}=${added.join(' ')}`];
  }
  if (key.startsWith('Exec')) {
    const lines = is.map((value) => `${key}=${words(value).join(' ')}`);
    return was.length === 0 ? lines : [`${key}=`, ...lines];
  }
  return [`${key}=${is.at(-1) ?? setting?.off ?? ''}`];
}

/** The words of a value as they are written, quotes included. */
function words(value: string): readonly string[] {
  return (splitWords(value) ?? []).map(({ start, end }) => value.slice(start, end));
}
