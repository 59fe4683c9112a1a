import { version } from '../generated/version.ts';
import type { Command } from './command.ts';
import { flagsOf } from './flags.ts';

/** Columns of the names of flags, and of the whole text. */
const width = 26;
const columns = 100;

/** The text of `celeriac --help`. */
export function renderCommands(commands: readonly Command[]): string {
  const names = Math.max(...commands.map(({ name }) => name.length)) + 4;
  return [
    'Usage: celeriac <command> [flags]',
    '',
    `Keeps Celery workers healthy on servers you own. This is version ${version}.`,
    '',
    ...commands.flatMap(({ name, summary }) =>
      wrap(summary, columns - names).map(
        (line, index) => `${(index === 0 ? `  ${name}` : '').padEnd(names)}${line}`,
      ),
    ),
    '',
    '`celeriac <command> --help` lists its flags; `celeriac --version` prints the version.',
    '',
  ].join('\n');
}

/** The text of `celeriac <command> --help`. */
export function renderHelp(command: Command): string {
  const lines = flagsOf(command).flatMap(({ name, takes, fallback, description, isSwitch }) => {
    const value = takes === '' ? '' : ' V';
    const negative = isSwitch && fallback === 'true' ? `, --no-${name}` : '';
    const expects = takes === '' ? '' : ` Takes ${takes}.`;
    const standard = fallback === '' || isSwitch ? '' : ` Default: ${fallback}.`;
    const head = `  --${name}${value}${negative}`;
    const first = head.length < width ? [] : [head];
    const text = wrap(`${description}${expects}${standard}`, columns - width);
    return [
      ...first,
      ...text.map((line, index) => {
        const begin = index === 0 && first.length === 0 ? head : '';
        return `${begin.padEnd(width)}${line}`;
      }),
    ];
  });
  const exits = Object.entries(command.exits).flatMap(([code, meaning]) =>
    wrap(meaning, columns - 7).map(
      (line, index) => `  ${(index === 0 ? code : '').padEnd(4)} ${line}`,
    ),
  );
  return [
    `Usage: celeriac ${command.name} ${command.usage}`,
    '',
    ...[command.summary, ...command.about].flatMap((text) => wrap(text, columns)),
    '',
    ...lines,
    '',
    'Exit codes:',
    ...exits,
    '',
  ].join('\n');
}

function wrap(text: string, most: number): string[] {
  const lines: string[] = [''];
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? '';
    if (last !== '' && last.length + 1 + word.length > most) lines.push(word);
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`;
  }
  return lines;
}
