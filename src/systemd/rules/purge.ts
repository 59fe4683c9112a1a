import { splitWords } from '../exec-line.ts';
import { redact } from '../secrets.ts';
import type { Assignment } from '../unit-entry.ts';
import type { UnitFile } from '../unit-file.ts';
import { execLines, named, type RuleContext, type Sighting, type UnitRule } from '../unit-rule.ts';

/** The options of Celery that empty the queues at a start. */
export const purgeOptions: readonly string[] = ['--purge', '--discard'];

/** Rules for what a start of the worker does to its queues. */
export const purgeRules: readonly UnitRule[] = [
  {
    id: 'purge',
    title: 'a start of the worker empties its queues',
    why: 'every restart, including those by systemd after a crash and by this deploy, deletes all tasks waiting in the queues',
    fix: 'remove --purge (or --discard, or the command that empties the queues) from the unit; run `celery purge` by hand when it is really wanted',
    severe: true,
    mends: {
      kind: 'not',
      how: 'The unit is refused, before anything changes, because a deploy restarts the worker. Variables of an EnvironmentFile= are checked during the trial import of the app. With `accept-rules: purge` it is deployed as it is.',
    },
    example: {
      wrong: ['ExecStart=/srv/app/venv/bin/celery -A app worker --purge'],
      right: ['ExecStart=/srv/app/venv/bin/celery -A app worker'],
    },
    find: (file, context) => [...findInCommands(file, context), ...findInVariables(file)],
  },
];

const flag = /(?:^|[\s"'=])--(?:purge|discard)(?=[\s"';&|)]|$)/;

/** Commands that empty queues, with or without Celery. */
const commands = [
  /\bcelery\b[^;&|]*\s(?:purge|queue\.purge)(?=[\s"';&|]|$)/,
  /\bredis-cli\b[^;&|]*\bflush(?:all|db)\b/i,
  /\brabbitmqctl\b[^;&|]*\bpurge_queue\b/,
  /\brabbitmqadmin\b[^;&|]*\bpurge\b/,
];

function findInCommands(file: UnitFile, { worker }: RuleContext): readonly Sighting[] {
  const runsCelery = (entry: Assignment): boolean =>
    entry === worker?.entry || /celery/i.test(entry.value);
  return execLines(file)
    .filter((entry) => entry.key !== 'ExecReload')
    .filter(
      (entry) =>
        (runsCelery(entry) && flag.test(entry.value)) ||
        commands.some((command) => command.test(entry.value)),
    )
    .map((entry) => ({ entry, seen: named(entry) }));
}

/** Names under which templates of Celery pass options. */
const usualNames = ['CELERYD_OPTS', 'CELERY_OPTS', 'CELERY_WORKER_OPTS'];

/** `Environment=CELERYD_OPTS=--purge` counts if a command uses the variable. */
function findInVariables(file: UnitFile): readonly Sighting[] {
  const lines = execLines(file).map(({ value }) => value);
  const isUsed = (name: string): boolean =>
    usualNames.includes(name) ||
    lines.some((line) => new RegExp(`\\$(?:${name}\\b|\\{${name}[}:])`).test(line));
  return file.effective('Service', 'Environment').flatMap((entry) =>
    (splitWords(entry.value) ?? []).flatMap(({ text }) => {
      const at = text.indexOf('=');
      const name = text.slice(0, at);
      const isOurs = /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && flag.test(text.slice(at));
      return isOurs && isUsed(name) ? [{ entry, seen: `Environment=${redact(text)}` }] : [];
    }),
  );
}
