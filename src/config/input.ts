import { z } from 'zod/mini';
import { type Bytes, type Seconds, seconds } from '../model/units.ts';
import { readJsonArray } from './json-array.ts';
import { parsePostgresUrl } from './postgres-url.ts';
import { longestAge, longestTimer, parseDuration, parseSize } from './quantities.ts';

/**
 * One public input: its default, what it accepts, and how its text is parsed. The action's
 * `action.yml`, the table in its README and the keys of the fleet file are generated from this.
 */
export interface Input<T> {
  readonly description: string;
  /** What is accepted, for error messages: `a size such as 2G`. */
  readonly expected: string;
  /** The default, as text; `null`: the input is required. */
  readonly fallback: string | null;
  readonly secret: boolean;
  /** Its value may contain a password, so errors do not repeat it. */
  readonly hidden: boolean;
  /** What its text is as YAML; the fleet file may hold it as YAML, too. `null`: it is no YAML. */
  readonly yaml: z.ZodMiniType | null;
  /** Inputs that have no effect beside it, so that both cannot be given at once. */
  readonly overrides: readonly string[];
  readonly schema: z.ZodMiniType<T, string>;
  /** What a fleet file may hold, as a JSON Schema; absent: text. */
  readonly json?: Readonly<Record<string, unknown>>;
}

export type Inputs = Readonly<Record<string, Input<unknown>>>;

/** The typed values of a set of inputs, under the inputs' own names. */
export type ValuesOf<Set extends Inputs> = {
  readonly [Name in keyof Set]: Set[Name] extends Input<infer T> ? T : never;
};

export interface Described {
  readonly description: string;
  /** The default, as text. Absent: the input is required. */
  readonly fallback?: string;
  readonly overrides?: readonly string[];
}

/** An input whose text `read` turns into its value; `null`: it is not as expected. */
export function input<T>(
  described: Described & { secret?: boolean; hidden?: boolean; yaml?: z.ZodMiniType },
  expected: string,
  read: (text: string) => T | null,
): Input<T> {
  const schema = z.pipe(
    z.string(),
    z.transform((text, context): T => {
      const value = read(text);
      if (value === null) {
        context.issues.push({ code: 'custom', input: text, message: `expected ${expected}` });
        return z.NEVER;
      }
      return value;
    }),
  );
  return {
    description: described.description,
    expected,
    fallback: described.fallback ?? null,
    secret: described.secret ?? false,
    hidden: described.hidden ?? described.secret ?? false,
    yaml: described.yaml ?? null,
    overrides: described.overrides ?? [],
    schema,
  };
}

export const sizeInput = (described: Described): Input<Bytes> =>
  input(described, 'a size such as 512M or 2G', parseSize);

/** A size, `off` for no limit, or empty to keep what there is. */
export const limitInput = (
  described: Described,
): Input<{ readonly limit: Bytes | null | 'keep' }> =>
  input({ ...described, fallback: '' }, 'a size such as 800M, `off`, or empty', (text) => {
    const word = text.trim();
    if (word === '') return { limit: 'keep' };
    if (word === 'off') return { limit: null };
    const limit = parseSize(word);
    return limit === null ? null : { limit };
  });

/** A size, or empty. */
export const maybeSizeInput = (described: Described): Input<{ readonly bytes: Bytes | null }> =>
  input({ ...described, fallback: '' }, 'a size such as 512M or 2G, or empty', (text) => {
    if (text.trim() === '') {
      return { bytes: null };
    }
    const size = parseSize(text);
    return size === null ? null : { bytes: size };
  });

/** What the timers of Node.js and systemd can hold; longer ones end at once, or never. */
const timer = (text: string): Seconds | null => atMost(longestTimer, parseDuration(text));

const atMost = (longest: Seconds, duration: Seconds | null): Seconds | null =>
  duration !== null && duration <= longest ? duration : null;

/** How long something may take. */
export const durationInput = (described: Described): Input<Seconds> =>
  input(described, 'a duration such as 90s, 30m or 2h, at most 24d', timer);

/** How old something must be; nothing waits for it. */
export const ageInput = (described: Described): Input<Seconds> =>
  input(described, 'a duration such as 90s, 30m or 2h, at most 3650d', (text) =>
    atMost(longestAge, parseDuration(text)),
  );

/** A duration, or empty. */
export const maybeDurationInput = (
  described: Described,
): Input<{ readonly seconds: Seconds | null }> =>
  input(
    { ...described, fallback: '' },
    'a duration such as 90s, 30m or 2h, at most 24d, or empty',
    (text) => {
      if (text.trim() === '') {
        return { seconds: null };
      }
      const duration = timer(text);
      return duration === null ? null : { seconds: duration };
    },
  );

/** A duration, or `off` for 0 s. */
export const optionalDurationInput = (described: Described): Input<Seconds> =>
  input(described, 'a duration such as 5m, at most 24d, or `off`', (text) =>
    text.trim() === 'off' ? seconds(0) : timer(text),
  );

export const integerInput = (
  described: Described,
  range: { readonly min: number; readonly max: number },
): Input<number> =>
  inJson(
    integerJson(range),
    input(described, `an integer from ${range.min} to ${range.max}`, (text) => {
      const value = /^[0-9]{1,15}$/.test(text.trim()) ? Number(text) : Number.NaN;
      return value >= range.min && value <= range.max ? value : null;
    }),
  );

const integerJson = ({ min, max }: { readonly min: number; readonly max: number }) => ({
  type: 'integer',
  minimum: min,
  maximum: max,
});

const inJson = <T>(json: Readonly<Record<string, unknown>>, of: Input<T>): Input<T> => ({
  ...of,
  json,
});

/** Hours, also a part of one. */
export const hoursInput = (
  described: Described,
  range: { readonly min: number; readonly max: number },
): Input<number> =>
  input(
    described,
    `a number of hours from ${range.min} to ${range.max}, such as 24 or 0.5`,
    (text) => {
      const value = /^[0-9]{1,6}(?:\.[0-9]{1,6})?$/.test(text.trim()) ? Number(text) : Number.NaN;
      return value >= range.min && value <= range.max ? value : null;
    },
  );

/** An integer, or empty. */
export const maybeIntegerInput = (
  described: Described,
  range: { readonly min: number; readonly max: number },
): Input<{ readonly value: number | null }> =>
  inJson(
    integerJson(range),
    input(
      { ...described, fallback: '' },
      `an integer from ${range.min} to ${range.max}, or empty`,
      (text) => {
        if (text.trim() === '') {
          return { value: null };
        }
        const value = /^[0-9]{1,15}$/.test(text.trim()) ? Number(text) : Number.NaN;
        return value >= range.min && value <= range.max ? { value } : null;
      },
    ),
  );

export const booleanInput = (described: Described): Input<boolean> =>
  inJson(
    { type: 'boolean' },
    input(described, '`true` or `false`', (text) => {
      const word = text.trim().toLowerCase();
      return word === 'true' ? true : word === 'false' ? false : null;
    }),
  );

export const choiceInput = <const Choice extends string>(
  described: Described,
  choices: readonly Choice[],
): Input<Choice> =>
  inJson(
    { enum: choices },
    input(
      described,
      `one of ${choices.map((choice) => `\`${choice}\``).join(', ')}`,
      (text) => choices.find((choice) => choice === text.trim()) ?? null,
    ),
  );

/** A regular expression, or one with a further condition. */
type Pattern = Pick<RegExp, 'test'>;

/** Text that matches a pattern; the pattern keeps hostile text out of commands and files. */
export const patternInput = (
  described: Described & { hidden?: boolean },
  expected: string,
  pattern: Pattern,
): Input<string> =>
  input(described, expected, (text) => (pattern.test(text.trim()) ? text.trim() : null));

/**
 * Items separated by commas or white space, each of which must match a pattern. No items are only
 * accepted as no value: `,` is more likely a variable that is empty.
 */
export const listInput = (
  described: Described & { hidden?: boolean },
  expected: string,
  pattern: Pattern,
): Input<readonly string[]> =>
  input(described, expected, (text) => {
    const items = text.split(/[\s,]+/).filter((item) => item !== '');
    if (items.length === 0 && (text !== '' || described.fallback !== '')) return null;
    return items.every((item) => pattern.test(item)) ? items : null;
  });

/** `name=value` lines. */
export const pairsInput = (described: Described): Input<Readonly<Record<string, string>>> =>
  input(
    { ...described, hidden: true },
    'lines of the form `name=value`, each name once',
    (text) => {
      const pairs = new Map<string, string>();
      for (const line of text.split(/\r?\n/).filter((each) => each.trim() !== '')) {
        const at = line.indexOf('=');
        const name = line.slice(0, at).trim();
        if (at < 1 || name === '' || pairs.has(name)) {
          return null;
        }
        pairs.set(name, line.slice(at + 1));
      }
      return Object.fromEntries(pairs);
    },
  );

/** A JSON array that arrives at the host as it was written. */
export const jsonArrayInput = (described: Described): Input<readonly unknown[]> =>
  input(
    { ...described, hidden: true },
    'a JSON array such as `["a", 1]`, at most 20 levels deep, without duplicate keys, NaN, Infinity or numbers too large for JSON',
    readJsonArray,
  );

/** A host that connections pass through. */
export interface Jump {
  readonly host: string;
  readonly port: number;
  /** `null`: that of the server. */
  readonly user: string | null;
}

/** `user@host:port`, or empty. */
export const jumpInput = (described: Described): Input<{ readonly jump: Jump | null }> =>
  input(
    { ...described, fallback: '' },
    '`host`, `user@host` or `user@host:port` (an IPv6 address in brackets), or empty',
    (text) => {
      if (text.trim() === '') return { jump: null };
      const [, user = null, bracketed, plain, port = '22'] =
        /^(?:([a-z_][a-z0-9_-]{0,31})@)?(?:\[([0-9A-Fa-f:.]+)\]|((?!-)[A-Za-z0-9._-]{1,253}))(?::([0-9]{1,5}))?$/.exec(
          text.trim(),
        ) ?? [];
      const host = bracketed ?? plain;
      const isValid = host !== undefined && Number(port) >= 1 && Number(port) <= 65_535;
      return isValid ? { jump: { host, port: Number(port), user } } : null;
    },
  );

/** Several lines, taken verbatim; validated by a parser of their own. */
export const linesInput = (described: Described, expected: string): Input<string> =>
  input({ ...described, hidden: true }, expected, (text) => (text.trim() === '' ? null : text));

/** YAML of this shape, or empty; validated by a parser of its own, which names the line. */
export const yamlInput = (described: Described, yaml: z.ZodMiniType): Input<string> =>
  input({ ...described, hidden: true, yaml }, 'lines of YAML, or empty', (text) => text);

export const secretInput = (described: Described, expected: string): Input<string> =>
  input({ ...described, secret: true }, expected, (text) => text);

/** An absolute path without `..`, white space, quotes or characters special to systemd or shells. */
export const absolutePath = /^(?!.*(?:^|\/)\.\.?(?:\/|$))(?:\/[A-Za-z0-9._@:+-]+)+$/;

/** Whether this is a valid name of a job database. */
export const isDatabase = (text: string): boolean =>
  absolutePath.test(text) || parsePostgresUrl(text) !== null;

/** Whether the port of a URL, if it has one, exists. */
function hasValidPort(url: string): boolean {
  const [, port] = /^[a-z]+:\/\/(?:[^/?#]*@)?(?:\[[^\]]*\]|[^/?#:]*):([0-9]+)/.exec(url) ?? [];
  return port === undefined || (Number(port) >= 1 && Number(port) <= 65_535);
}

/** Up to the path there is a user, a host and a port, and nothing that may be a password. */
const openUrl = /^https?:\/\/(?:[^:/?#@[]+@)?(?:\[[^\]]*\]|[^:/?#@[]*)(?::\d+)?(?:[/?#]|$)/;

/** A pattern for URLs whose port must exist, too, and which hold no password: they are shown. */
export const urlPattern = (pattern: RegExp): Pattern => ({
  test: (text) => pattern.test(text) && (text === '' || (openUrl.test(text) && hasValidPort(text))),
});

/** A URL that matches; it may contain a password or a token. */
export const urlInput = (described: Described, expected: string, pattern: RegExp): Input<string> =>
  patternInput({ ...described, hidden: true }, expected, urlPattern(pattern));

/** Where the jobs are; without a path they are searched for, unless there are none. */
export interface DatabaseChoice {
  readonly path: string | null;
  readonly none: boolean;
}

function chooseDatabase(text: string, isValid: (path: string) => boolean): DatabaseChoice | null {
  const path = text.trim();
  if (path === '' || path === 'none') return { path: null, none: path === 'none' };
  return isValid(path) ? { path, none: false } : null;
}

/** A job database, `none`, or empty to search for databases. */
export const maybeDatabaseInput = (described: Described): Input<DatabaseChoice> =>
  input(
    { ...described, fallback: '', hidden: true },
    'an absolute path (letters, digits and . _ @ : + - only, no `..`), a postgresql:// URL without a password, `none`, or empty',
    (text) => chooseDatabase(text, isDatabase),
  );

/** The name of a time zone; an app may store local times without a zone. */
export const timeZoneInput = (described: Described): Input<string> =>
  input(described, 'a time zone such as UTC or Europe/Berlin', (text) => {
    const zone = text.trim();
    // Known without the time zone data, which take 15 ms to load.
    if (zone === 'UTC') return zone;
    try {
      return new Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone;
    } catch {
      return null;
    }
  });

/** The name of a systemd service, with or without its suffix (systemd.unit(5)). */
export const unitName = /^[A-Za-z0-9:_\\-][A-Za-z0-9:_.\\@-]{0,199}$/;

/** A systemd service; the suffix may be omitted and is added. */
export const unitInput = (described: Described): Input<string> =>
  input(described, 'the name of a systemd service such as celery-worker.service', (text) => {
    const name = text.trim();
    if (!unitName.test(name)) {
      return null;
    }
    return name.endsWith('.service') ? name : `${name}.service`;
  });

/** An absolute path, or empty. */
export const maybePathInput = (described: Described): Input<{ readonly path: string | null }> =>
  input(
    { ...described, fallback: '' },
    'an absolute path (letters, digits and . _ @ : + - only, no `..`), or empty',
    (text) => {
      const path = text.trim();
      return path === '' ? { path: null } : absolutePath.test(path) ? { path } : null;
    },
  );
