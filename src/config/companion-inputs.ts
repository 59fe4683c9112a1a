import { type Described, durationInput, type Input, input, unitName, urlPattern } from './input.ts';

/** A unit that runs the app's code beside the worker, as `also-restart` names it. */
export interface Companion {
  /** With its suffix. */
  readonly unit: string;
  readonly how: 'restart' | 'reload';
  /** `null`: it is not asked. */
  readonly url: string | null;
}

/** Entries separated by commas or line breaks: a unit, then `reload` and a URL if wanted. */
export const companionsInput = (described: Described): Input<readonly Companion[]> =>
  input(
    { ...described, fallback: '', hidden: true },
    'units separated by commas, each optionally with `reload` and a URL: `shop-web.service reload http://127.0.0.1:8000/up, shop-beat.service`',
    (text) => {
      if (text.trim() === '') return text === '' ? [] : null;
      const found = text.split(/[,\n]/).flatMap((entry) => {
        const words = entry.split(/\s+/).filter((word) => word !== '');
        return words.length === 0 ? [] : [readCompanion(words)];
      });
      const units = new Set(found.map((each) => each?.unit));
      if (found.length === 0 || units.size < found.length) return null;
      return found.every((each) => each !== null) ? found : null;
    },
  );

const probeUrl = urlPattern(/^https?:\/\/[^\s"'<>@]+$/);

function readCompanion([name = '', ...words]: readonly string[]): Companion | null {
  const how = words[0] === 'reload' ? 'reload' : 'restart';
  const [url = null, ...more] = how === 'reload' ? words.slice(1) : words;
  if (!unitName.test(name) || more.length > 0) return null;
  if (url !== null && !probeUrl.test(url)) return null;
  return { unit: name.endsWith('.service') ? name : `${name}.service`, how, url };
}

/** Commands without a shell, one per line; quotes keep white space. */
export const commandsInput = (described: Described): Input<readonly (readonly string[])[]> =>
  input(
    { ...described, fallback: '', hidden: true },
    'commands, one per line, without shell syntax (`$`, `|`, `;`, `&`, `<`, `>`, `*`): `python manage.py migrate`',
    (text) => {
      const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '');
      if (lines.length === 0) return text === '' ? [] : null;
      const commands = lines.map(readWords);
      return commands.every((words) => words !== null && words.length > 0)
        ? (commands as string[][])
        : null;
    },
  );

/** The words of a command. `null`: an unclosed quote, or something outside quotes that a shell would interpret. */
export function readWords(line: string): readonly string[] | null {
  const words: string[] = [];
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it must not contain.
  if (/[\u0000-\u0008\u000b-\u001f\u007f]/.test(line)) return null;
  const part = /\s*((?:'[^']*'|"[^"$`\\]*"|[^\s'"$`\\|;&<>()*?#~{}[\]])+)/y;
  for (let at = 0; at < line.trimEnd().length; at = part.lastIndex) {
    part.lastIndex = at;
    const found = part.exec(line)?.[1];
    if (found === undefined) return null;
    words.push(found.replace(/'([^']*)'|"([^"]*)"/g, (_, single, double) => single ?? double));
  }
  return words;
}

/** Inputs of deploy-worker that concern what the app runs besides its worker. */
export const companionInputs = {
  'before-start': commandsInput({
    description:
      'Commands of the app to run before the new worker starts, one per line, such as `python manage.py migrate`. They run as the user of the unit, in its working directory and environment, once the new code and its dependencies are in place, and before the old worker stops. `python` is the Python of the worker. If a command fails, the old worker stays. A rollback does not undo what they did.',
  }),
  'before-start-timeout': durationInput({
    description: 'How long each command of `before-start` may take.',
    fallback: '10m',
  }),
  'also-restart': companionsInput({
    description:
      'Other units that run the same code, such as web and beat. They are restarted (`reload`: reloaded) in this order once the new worker has passed its checks. Each must then run for `min-healthy-time`, and answer at its URL if one is given. They are rolled back with the worker.',
  }),
} as const;
