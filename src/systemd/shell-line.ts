/**
 * The script of `sh -c '…'` in an Exec line. Only simple scripts are supported: some commands, the
 * last of which starts the worker. Words have positions, so that one can be changed.
 */

export interface ShellWord {
  /** Unquoted; a `$` in it is expanded by the shell or systemd. */
  readonly text: string;
  /** Position in the script, including quotes. */
  readonly start: number;
  readonly end: number;
}

/** The last command of the script, and those before it. */
export interface ShellScript {
  /** `NAME=value` words: before the command, or exported earlier. */
  readonly assignments: readonly ShellWord[];
  /** The command, without `exec`. */
  readonly words: readonly ShellWord[];
  /** Whether the shell replaces itself with the command (`exec`), or waits for it. */
  readonly becomes: boolean;
  /** The commands before it, and its own assignments as the last one: what they set, it inherits. */
  readonly before: readonly (readonly ShellWord[])[];
}

export type ShellReading =
  | { readonly kind: 'read'; readonly script: ShellScript }
  | { readonly kind: 'refused'; readonly problem: string };

type Token = ShellWord | 'end';

/** @param script as unquoted by systemd, with `%` and `$` still doubled */
export function readShell(script: string): ShellReading {
  const tokens: Token[] = [];
  let at = 0;
  while (at < script.length) {
    const rest = script.slice(at);
    const space = /^[ \t]+/.exec(rest);
    const end = /^(?:&&|;|\n)/.exec(rest);
    const redirection = /^(?:\d*(?:>>|>\||[<>]&?(?=[^<>]))|&>>?)[ \t]*/.exec(rest);
    if (space) {
      at += space[0].length;
    } else if (end) {
      tokens.push('end');
      at += end[0].length;
    } else if (redirection) {
      const target = readWord(script, at + redirection[0].length);
      if (typeof target === 'string') return refuse(target);
      at = target.end;
    } else {
      const problem = unreadable(rest);
      if (problem !== null) return refuse(problem);
      const word = readWord(script, at);
      if (typeof word === 'string') return refuse(word);
      tokens.push(word);
      at = word.end;
    }
  }
  return readCommands(tokens);
}

const refuse = (problem: string): ShellReading => ({ kind: 'refused', problem });

function unreadable(rest: string): string | null {
  if (/^\|\|/.test(rest)) return 'uses `||`';
  if (/^\|/.test(rest)) return 'uses a pipe (`|`)';
  if (/^&/.test(rest)) return 'runs a command in the background (`&`)';
  if (/^[()<#]/.test(rest)) return `contains ${rest[0]}`;
  return null;
}

/** The word that begins there, or why it cannot be read. */
function readWord(script: string, start: number): ShellWord | string {
  let at = start;
  let quote = '';
  let text = '';
  while (at < script.length) {
    const char = script[at] ?? '';
    const next = script[at + 1] ?? '';
    if (quote !== "'" && (char === '`' || (char === '$' && next === '('))) {
      return 'uses command substitution';
    }
    if (char === '\\' && quote !== "'") {
      text += next;
      at += 2;
    } else if (quote !== '') {
      if (char === quote) quote = '';
      else text += char;
      at += 1;
    } else if (char === '"' || char === "'") {
      quote = char;
      at += 1;
    } else if (/[ \t\n;&|<>()]/.test(char)) {
      break;
    } else {
      text += char;
      at += 1;
    }
  }
  if (quote !== '') return 'has an unclosed quote';
  if (at === start) return 'has a redirection without a target';
  // systemd turns `$$` into `$`, which is then up to the shell.
  return { text: text.replaceAll('$$', '$'), start, end: at };
}

const isAssignment = ({ text }: ShellWord): boolean => /^[A-Za-z_][A-Za-z0-9_]*=/.test(text);

function readCommands(tokens: readonly Token[]): ShellReading {
  const commands: ShellWord[][] = [[]];
  for (const token of tokens) {
    if (token === 'end') commands.push([]);
    else commands.at(-1)?.push(token);
  }
  const all = commands.filter((command) => command.length > 0);
  const exported: ShellWord[] = [];
  for (const command of all.slice(0, -1)) {
    const [{ text: name } = { text: '' }, ...words] = command;
    if (
      command.some(({ text }) => /(?:^|\/)celery$/.test(text)) &&
      /\bworker\b/.test(join(words))
    ) {
      return refuse('runs a command after the worker');
    }
    if (name === 'export' || command.every(isAssignment)) {
      exported.push(...command.filter(isAssignment));
    }
  }
  const last = all.at(-1) ?? [];
  const own = last.findIndex((word) => !isAssignment(word));
  const command = own === -1 ? [] : last.slice(own);
  const becomes = command[0]?.text === 'exec';
  const assigned = last.slice(0, Math.max(own, 0));
  return {
    kind: 'read',
    script: {
      assignments: [...exported, ...assigned],
      words: becomes ? command.slice(1) : command,
      becomes,
      before: [...all.slice(0, -1), assigned].filter((one) => one.length > 0),
    },
  };
}

const join = (words: readonly ShellWord[]): string => words.map(({ text }) => text).join(' ');
