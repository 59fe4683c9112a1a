import { parseExecLine } from '../exec-line.ts';
import type { Assignment } from '../unit-entry.ts';
import { execLines, named, type UnitRule } from '../unit-rule.ts';

/** Rules for the commands of a unit. */
export const execRules: readonly UnitRule[] = [
  {
    id: 'shell-syntax',
    title: 'shell syntax in an Exec line',
    why: 'systemd does not use a shell: the program receives these words as arguments and often fails',
    fix: 'put `-` before the path to ignore a failure; stdout goes to the journal without a redirection',
    mends: {
      kind: 'in-part',
      how: 'A line that only kills Celery processes by name is removed. Other lines are left to you.',
    },
    example: {
      wrong: ['ExecStartPre=/usr/bin/mkdir -p /run/app || true'],
      right: ['ExecStartPre=-/usr/bin/mkdir -p /run/app'],
    },
    find: (file) =>
      execLines(file)
        .filter((entry) => shellSyntax(entry).length > 0)
        .map((entry) => ({ entry, seen: named(entry) })),
  },
  {
    id: 'kill-by-name',
    title: 'Celery processes are killed by name',
    why: 'this kills every Celery process on the host, including those of other units and running tasks',
    fix: 'remove the line: systemd stops the processes of the unit, and deploy-worker ends stray workers one by one',
    mends: {
      kind: 'in-part',
      how: 'A line that does nothing else is removed. Scripts that do more, and ExecReload=, are left to you.',
    },
    example: {
      wrong: ['ExecStartPre=-/usr/bin/pkill -9 celery'],
      right: [],
    },
    find: (file) =>
      execLines(file)
        .filter((entry) => /\b(?:pkill|killall)\b.*celery/i.test(entry.value))
        .map((entry) => ({ entry, seen: named(entry) })),
  },
  {
    id: 'shell-waits',
    title: 'a shell runs between systemd and the worker',
    why: 'the shell is the main process: a stop signals the shell and not the worker, so running tasks are killed, and notifications from the worker are ignored',
    fix: '`exec` before the celery command, or the celery command itself as ExecStart=',
    mends: { kind: 'whole', how: '`exec` is added before the command.' },
    example: {
      wrong: ["ExecStart=/bin/sh -c 'cd /srv/app && celery -A app worker'"],
      right: ["ExecStart=/bin/sh -c 'cd /srv/app && exec celery -A app worker'"],
    },
    find: (_file, { worker }) =>
      worker?.shell === 'waits' ? [{ entry: worker.entry, seen: named(worker.entry) }] : [],
  },
  {
    id: 'relative-path',
    title: 'a path is not absolute',
    why: 'systemd ignores such a line or rejects the unit: paths are not relative to any directory, not even to WorkingDirectory=, and variables are not expanded in them',
    fix: 'the absolute path; WorkingDirectory= also accepts `~` alone, and %h is the home directory',
    mends: { kind: 'not', how: 'The line is left to you: the intended directory is unknown.' },
    example: {
      wrong: ['WorkingDirectory=app/backend', 'EnvironmentFile=.env'],
      right: ['WorkingDirectory=/srv/app/backend', 'EnvironmentFile=/srv/app/backend/.env'],
    },
    find: (file) => [
      ...execLines(file)
        .filter((entry) => (parseExecLine(entry.value) ?? []).some(isRelativeCommand))
        .map((entry) => ({ entry, seen: named(entry) })),
      ...['WorkingDirectory', 'RootDirectory', 'EnvironmentFile']
        .flatMap((key) => file.effective('Service', key))
        .filter(({ value }) => !/^-?(?:[/%]|~$)/.test(value))
        .map((entry) => ({ entry, seen: named(entry) })),
    ],
  },
];

/** systemd searches for a bare name in its own path, but does not resolve `venv/bin/celery`. */
function isRelativeCommand({ words: [program] }: { words: readonly { text: string }[] }): boolean {
  return program !== undefined && /^[^/%]+\//.test(program.text);
}

const killers = ['pkill', 'killall', 'skill', 'slay'];

/** Whether an Exec line does nothing but kill Celery processes by name. */
export function killsCeleryByName(entry: Assignment): boolean {
  const commands = parseExecLine(entry.value) ?? [];
  return (
    commands.length > 0 &&
    commands.every(({ words }) => {
      const texts = words.map(({ text }) => text);
      const script = shellScript(texts);
      if (script === null) return isKiller(texts[0]) && texts.some((text) => /celery/i.test(text));
      // A script that does something else as well must not be removed.
      const doing = script.split(/\|\||&&|[;\n]/).map((part) => part.trim());
      return doing.every(
        (part) =>
          part === '' ||
          /^(?:true|:|sleep\s+[\d.]+\w?|exit 0)$/.test(part) ||
          (isKiller(part.split(/\s+/)[0]) && /celery/i.test(part) && !/[`$]\(|`/.test(part)),
      );
    })
  );
}

const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
const isKiller = (word = ''): boolean => killers.includes(baseName(word));

/** The text of `sh -c '…'`; `null` for other commands. */
function shellScript(words: readonly string[]): string | null {
  const [program = '', ...rest] = words;
  if (!/^(?:ba|da|z|k|a)?sh$/.test(baseName(program))) return null;
  const at = rest.findIndex((word) => /^-[a-z]*c$/.test(word));
  return at === -1 ? null : (rest[at + 1] ?? '');
}

/** Words with shell syntax in a line that is not run by a shell. */
function shellSyntax(entry: Assignment): readonly string[] {
  const commands = parseExecLine(entry.value) ?? [];
  return commands.flatMap(({ words }) => {
    const texts = words.map(({ text }) => text);
    return shellScript(texts) === null
      ? texts.filter((text) => /^(?:\|\|?|&&?|\d*>>?(?:&\d|.*)|<.*|.*\$\(.*|`.*)$/.test(text))
      : [];
  });
}
