import type { Operation } from '../model/operation.ts';

/** The agent as a program, run by this Python. */
export type InstalledText = (python: string) => string;

/**
 * The operations of hardened mode as a script for a shell of root, for those who type themselves. It
 * stops at the first error; unlike a plan it undoes nothing.
 */
export function renderCommands(operations: readonly Operation[], agent: InstalledText): string {
  if (operations.length === 0) return '# Nothing to do: the host is in the desired state.\n';
  return [
    '#!/bin/sh',
    '# As root. Each part is one operation of `celeriac harden` or `celeriac unharden`.',
    'set -eu',
    'umask 022',
    ...operations.flatMap((operation) => [
      '',
      `# ${operation.title}: ${operation.why}`,
      ...linesOf(operation, agent),
    ]),
    '',
  ].join('\n');
}

function linesOf(operation: Operation, agent: InstalledText): readonly string[] {
  switch (operation.op) {
    case 'create-user':
      return createUser(operation.user, operation.home);
    case 'remove-user':
      return [`userdel ${quote(operation.user)}`, removeEmpty(`/home/${operation.user}`)];
    case 'install-agent':
      return writeFile(operation.path, agent(operation.python), '0755');
    case 'write-file':
      return writeFile(operation.path, operation.text, operation.mode);
    case 'set-mode':
      return [
        `chown ${quote(operation.owner)} ${quote(operation.path)}`,
        `chmod ${operation.mode} ${quote(operation.path)}`,
      ];
    case 'install-sudoers':
      return installSudoers(operation.path, operation.text);
    case 'prove-agent':
      return [
        `echo '{"id":1,"ask":"bye","protocol":1}' | runuser -u ${quote(operation.user)} -- sudo -n ${quote(operation.path)}`,
      ];
    case 'remove-file':
      return [`rm ${quote(operation.path)}`];
    case 'remove-folder':
      return [`rmdir ${quote(operation.path)}`];
    default:
      throw new Error(`${operation.op} is not an operation of hardened mode`);
  }
}

function createUser(user: string, home: string): readonly string[] {
  const ssh = quote(`${home}/.ssh`);
  return [
    `useradd --system --user-group --no-create-home --home-dir ${quote(home)} --shell /bin/sh \\`,
    `  --comment 'Celeriac deploys (celeriac harden)' --password '*' ${quote(user)}`,
    `install -d -o root -g root -m 0755 ${quote(home)} ${ssh}`,
    `if command -v restorecon >/dev/null; then restorecon -R ${quote(home)}; fi`,
  ];
}

/** Checked before it is in place, and as a whole after. */
function installSudoers(path: string, text: string): readonly string[] {
  const name = quote(path);
  return [
    'visudo -c >/dev/null',
    'draft=$(mktemp)',
    `printf '%s' ${quote(text)} >"$draft"`,
    'visudo -cf "$draft"',
    `install -o root -g root -m 0440 "$draft" ${name}`,
    'rm "$draft"',
    `visudo -c || { rm ${name}; exit 1; }`,
  ];
}

/** Beside the file first, so that it is never half-written. */
function writeFile(path: string, text: string, mode: string): readonly string[] {
  const folder = path.slice(0, path.lastIndexOf('/'));
  const end = 'END_OF_FILE';
  return [
    `mkdir -p ${quote(folder)}`,
    `cat >${quote(`${path}.new`)} <<'${end}'`,
    ...text.replace(/\n$/, '').split('\n'),
    end,
    `chmod ${mode} ${quote(`${path}.new`)}`,
    `mv ${quote(`${path}.new`)} ${quote(path)}`,
  ];
}

const removeEmpty = (home: string): string =>
  `rmdir ${quote(`${home}/.ssh`)} ${quote(home)} || true`;

/** A word for a shell. */
export const quote = (word: string): string =>
  /^[A-Za-z0-9/_.-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
