import { splitWords } from '../../systemd/exec-line.ts';
import type { UnitFile } from '../../systemd/unit-file.ts';
import type { Setting } from './unit-settings.ts';

const header = [
  '# Written by Celeriac (deploy-worker), and written anew when the unit below it changes.',
  '# To undo it, delete this file, `systemctl daemon-reload`, and restart the unit.',
];

/** Lists: the drop-in contains only the added items, because systemd appends them. */
const addedTo = ['After', 'Environment', 'ReadWritePaths'];

/**
 * The drop-in that turns one unit into another; `null`: none is needed.
 *
 * @param before the unit without the drop-in
 * @param after the unit with it
 * @param settings settings whose value must not depend on which of two spellings is read last
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
  // Celeriac's line overrides another spelling, unless the setting must not be set at all.
  if (spelling) return spelling.value === null ? [`${key}=${spelling.off}`] : [];
  // TimeoutSec= sets both time-outs: which line counts depends on their order.
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

/** The words of a value as written, with their quotes. */
function words(value: string): readonly string[] {
  return (splitWords(value) ?? []).map(({ start, end }) => value.slice(start, end));
}
