import { splitWords } from '../exec-line.ts';
import { holdsPassword, namesSecret } from '../secrets.ts';
import type { Assignment } from '../unit-entry.ts';
import { execLines, named, setting, type UnitRule } from '../unit-rule.ts';

/** Rules for the user, directory and environment of a worker. */
export const surroundingsRules: readonly UnitRule[] = [
  {
    id: 'missing-user',
    title: 'no User=, so the worker runs as root',
    why: 'anyone who can send a task, or exploits a bug in one, takes over the host',
    fix: 'User= with an account that owns the app and little else; an explicit User=root if it must be root',
    mends: {
      kind: 'not',
      how: 'The setting is left to you, because files and databases must belong to the same user. A user that does not exist on the host is rejected before anything changes.',
    },
    example: { wrong: ['# no User='], right: ['User=app'] },
    find: (file) => {
      const entry = setting(file, 'User');
      const dynamic = /^(?:1|yes|y|true|t|on)$/i.test(file.value('Service', 'DynamicUser') ?? '');
      return entry !== null || dynamic ? [] : [{ entry, seen: 'no User=' }];
    },
  },
  {
    id: 'missing-working-directory',
    title: 'no WorkingDirectory=',
    why: 'systemd starts the worker in `/`: `-A app` finds only installed packages, and relative paths in the app start there',
    fix: 'WorkingDirectory= with the folder of the app',
    mends: {
      kind: 'not',
      how: 'The setting is left to you: the unit does not tell where the app is.',
    },
    example: { wrong: ['# no WorkingDirectory='], right: ['WorkingDirectory=/srv/app'] },
    find: (file, { worker }) => {
      const entry = setting(file, 'WorkingDirectory');
      const given = entry !== null || worker?.workingDirectory != null;
      return given ? [] : [{ entry, seen: 'no WorkingDirectory=' }];
    },
  },
  {
    id: 'secret-in-environment',
    title: 'the unit contains a secret',
    why: 'every user of the host can read unit files, `systemctl show` prints Environment= to everyone, and command lines are visible in the process list',
    fix: 'EnvironmentFile= with a file of mode 0600, or LoadCredential=; then rotate the secret',
    mends: {
      kind: 'not',
      how: 'The setting is left to you. Secrets are recognized by the name of the variable, or as a password in a URL; their values are never shown, not even in a diff.',
    },
    example: {
      wrong: ['Environment=API_TOKEN=0123456789abcdef'],
      right: ['EnvironmentFile=/etc/app/worker.env'],
    },
    find: (file) => [
      ...file.effective('Service', 'Environment').flatMap((entry) => {
        const names = secretsOf(entry);
        return names.length === 0
          ? []
          : [{ entry, seen: `Environment= with ${names.map((name) => `${name}=***`).join(' ')}` }];
      }),
      ...execLines(file)
        .filter(({ value }) => holdsPassword(value))
        .map((entry) => ({ entry, seen: named(entry) })),
    ],
  },
];

/** The names of the variables of a line that hold secrets. */
function secretsOf({ value }: Assignment): readonly string[] {
  return (splitWords(value) ?? []).flatMap(({ text }) => {
    const at = text.indexOf('=');
    const [name, content] = [text.slice(0, at), text.slice(at + 1)];
    if (at === -1 || content === '') return [];
    // A value such as %d/token is the path of a credential.
    const isPath = /^(?:%[a-zA-Z]|\/)[^\s:@]*$/.test(content);
    return (namesSecret(name) && !isPath) || holdsPassword(content) ? [name] : [];
  });
}
