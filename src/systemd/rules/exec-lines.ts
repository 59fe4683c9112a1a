import { parseExecLine } from '../exec-line.ts';
import type { Assignment } from '../unit-file.ts';
import { execLines, named, type UnitRule } from '../unit-rule.ts';

/** Rules on what a unit runs. */
export const execRules: readonly UnitRule[] = [
  {
    id: 'shell-syntax',
    title: 'shell syntax in an Exec line',
    why: 'systemd has no shell: the words go to the program as arguments, which then often fails',
    fix: 'a `-` before the path ignores a failure; journald keeps what is written to stdout',
    mends: {
      kind: 'in-part',
      how: 'A line that only kills Celery by name is removed. What other lines are meant to do is not guessed.',
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
    why: 'it kills every Celery process on the host, those of other units and running tasks too',
    fix: 'remove the line: systemd ends what it started, and strays are ended one by one, by pid',
    mends: {
      kind: 'in-part',
      how: 'A line that does nothing else is removed. A script that does other things too, and ExecReload=, are left to you.',
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
    title: 'a shell stands between systemd and the worker',
    why: 'the shell is the main process: a stop signals it and not the worker, whose tasks are then killed, and what the worker reports is not heard',
    fix: '`exec` before the celery call, or that call itself as ExecStart=',
    mends: { kind: 'whole', how: '`exec` is put before the call.' },
    example: {
      wrong: ["ExecStart=/bin/sh -c 'cd /srv/app && celery -A app worker'"],
      right: ["ExecStart=/bin/sh -c 'cd /srv/app && exec celery -A app worker'"],
    },
    find: (_file, { worker }) =>
      worker?.shell === 'waits' ? [{ entry: worker.entry, seen: named(worker.entry) }] : [],
  },
  {
    id: 'relative-path',
    title: 'a path that is not absolute',
    why: 'systemd ignores such a line, or refuses the unit: it looks below no directory, not even WorkingDirectory=, and knows no variables there',
    fix: 'the whole path, from `/` on; `~` is allowed as WorkingDirectory= alone, and %h is the home directory',
    mends: { kind: 'not', how: 'Where the path was meant to begin is not guessed.' },
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

/** A bare name is looked for in systemd's own path; `venv/bin/celery` is nowhere. */
function isRelativeCommand({ words: [program] }: { words: readonly { text: string }[] }): boolean {
  return program !== undefined && /^[^/%]+\//.test(program.text);
}

const killers = ['pkill', 'killall', 'skill', 'slay'];

/** True for an Exec line whose whole purpose is to kill Celery processes by name. */
export function killsCeleryByName(entry: Assignment): boolean {
  const commands = parseExecLine(entry.value) ?? [];
  return (
    commands.length > 0 &&
    commands.every(({ words }) => {
      const texts = words.map(({ text }) => text);
      const script = shellScript(texts);
      if (script === null) return isKiller(texts[0]) && texts.some((text) => /celery/i.test(text));
      // A script that does something else too is not ours to remove.
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

/** Words that only a shell would understand, in a line that no shell reads. */
function shellSyntax(entry: Assignment): readonly string[] {
  const commands = parseExecLine(entry.value) ?? [];
  return commands.flatMap(({ words }) => {
    const texts = words.map(({ text }) => text);
    return shellScript(texts) === null
      ? texts.filter((text) => /^(?:\|\|?|&&?|\d*>>?(?:&\d|.*)|<.*|.*\$\(.*|`.*)$/.test(text))
      : [];
  });
}
