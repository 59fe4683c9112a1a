import { splitWords } from '../exec-line.ts';
import { holdsPassword, namesSecret } from '../secrets.ts';
import type { Assignment } from '../unit-file.ts';
import { execLines, named, setting, type UnitRule } from '../unit-rule.ts';

/** Rules on as whom, where and with what a worker runs. */
export const surroundingsRules: readonly UnitRule[] = [
  {
    id: 'missing-user',
    title: 'no User=, so the worker runs as root',
    why: 'whoever can put a task into the queue, or breaks the code of one, then owns the host',
    fix: 'User= of an account that owns the app and little else; User=root where it must be, so that it is said',
    mends: {
      kind: 'not',
      how: 'Files and databases belong to the user that the worker runs as: the move is yours to make. A user that the host does not have is refused before anything changes.',
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
    why: 'systemd starts the worker in `/`: `-A app` finds only what is installed, and relative paths of the app point there',
    fix: 'WorkingDirectory= of the folder that holds the app',
    mends: { kind: 'not', how: 'Where the app is can not be told from the unit.' },
    example: { wrong: ['# no WorkingDirectory='], right: ['WorkingDirectory=/srv/app'] },
    find: (file, { worker }) => {
      const entry = setting(file, 'WorkingDirectory');
      const given = entry !== null || worker?.workingDirectory != null;
      return given ? [] : [{ entry, seen: 'no WorkingDirectory=' }];
    },
  },
  {
    id: 'secret-in-environment',
    title: 'a secret stands in the unit',
    why: 'every user of the host can read unit files, and `systemctl show` prints Environment= to anybody; command lines are in the list of processes',
    fix: 'EnvironmentFile= with a file of mode 0600, or LoadCredential=; then change the secret',
    mends: {
      kind: 'not',
      how: 'It is told by its name, or as a password in a URL; its value is shown nowhere, not even in a diff.',
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
    // A specifier alone, such as %d/token, is a path to a credential.
    const isPath = /^(?:%[a-zA-Z]|\/)[^\s:@]*$/.test(content);
    return (namesSecret(name) && !isPath) || holdsPassword(content) ? [name] : [];
  });
}
