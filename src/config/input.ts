import { z } from 'zod';
import { type Bytes, type Seconds, seconds } from '../model/units.ts';
import { parseDuration, parseSize } from './quantities.ts';

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
  readonly schema: z.ZodType<T, string>;
}

export type Inputs = Readonly<Record<string, Input<unknown>>>;

/** The typed values of a set of inputs, under the inputs' own names. */
export type ValuesOf<Set extends Inputs> = {
  readonly [Name in keyof Set]: Set[Name] extends Input<infer T> ? T : never;
};

interface Described {
  readonly description: string;
  /** The default, as text. Absent: the input is required. */
  readonly fallback?: string;
}

function input<T>(
  described: Described & { secret?: boolean },
  expected: string,
  read: (text: string) => T | null,
): Input<T> {
  const schema = z.string().transform((text, context): T => {
    const value = read(text);
    if (value === null) {
      context.addIssue({ code: 'custom', message: `expected ${expected}` });
      return z.NEVER;
    }
    return value;
  });
  return {
    description: described.description,
    expected,
    fallback: described.fallback ?? null,
    secret: described.secret ?? false,
    schema,
  };
}

export const sizeInput = (described: Described): Input<Bytes> =>
  input(described, 'a size such as 512M or 2G', parseSize);

/** A size, or `off`. */
export const optionalSizeInput = (described: Described): Input<Bytes | 'off'> =>
  input(described, 'a size such as 800M, or `off`', (text) =>
    text.trim() === 'off' ? 'off' : parseSize(text),
  );

/** A size, or empty. */
export const maybeSizeInput = (described: Described): Input<{ readonly bytes: Bytes | null }> =>
  input({ ...described, fallback: '' }, 'a size such as 512M or 2G, or empty', (text) => {
    if (text.trim() === '') {
      return { bytes: null };
    }
    const size = parseSize(text);
    return size === null ? null : { bytes: size };
  });

export const durationInput = (described: Described): Input<Seconds> =>
  input(described, 'a duration such as 90s, 30m or 2h', parseDuration);

/** A duration, or empty. */
export const maybeDurationInput = (
  described: Described,
): Input<{ readonly seconds: Seconds | null }> =>
  input({ ...described, fallback: '' }, 'a duration such as 90s, 30m or 2h, or empty', (text) => {
    if (text.trim() === '') {
      return { seconds: null };
    }
    const duration = parseDuration(text);
    return duration === null ? null : { seconds: duration };
  });

/** A duration, or `off` for 0 s. */
export const optionalDurationInput = (described: Described): Input<Seconds> =>
  input(described, 'a duration such as 5m, or `off`', (text) =>
    text.trim() === 'off' ? seconds(0) : parseDuration(text),
  );

export const integerInput = (
  described: Described,
  range: { readonly min: number; readonly max: number },
): Input<number> =>
  input(described, `an integer from ${range.min} to ${range.max}`, (text) => {
    const value = /^[0-9]{1,15}$/.test(text.trim()) ? Number(text) : Number.NaN;
    return value >= range.min && value <= range.max ? value : null;
  });

/** An integer, or empty. */
export const maybeIntegerInput = (
  described: Described,
  range: { readonly min: number; readonly max: number },
): Input<{ readonly value: number | null }> =>
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
  );

export const booleanInput = (described: Described): Input<boolean> =>
  input(described, '`true` or `false`', (text) => {
    const word = text.trim().toLowerCase();
    return word === 'true' ? true : word === 'false' ? false : null;
  });

export const choiceInput = <const Choice extends string>(
  described: Described,
  choices: readonly Choice[],
): Input<Choice> =>
  input(
    described,
    `one of ${choices.map((choice) => `\`${choice}\``).join(', ')}`,
    (text) => choices.find((choice) => choice === text.trim()) ?? null,
  );

/** Text that matches a pattern; the pattern keeps hostile text out of commands and files. */
export const patternInput = (
  described: Described,
  expected: string,
  pattern: RegExp,
): Input<string> =>
  input(described, expected, (text) => (pattern.test(text.trim()) ? text.trim() : null));

/** Items separated by commas or white space, each of which must match a pattern. */
export const listInput = (
  described: Described,
  expected: string,
  pattern: RegExp,
): Input<readonly string[]> =>
  input(described, expected, (text) => {
    const items = text.split(/[\s,]+/).filter((item) => item !== '');
    return items.every((item) => pattern.test(item)) ? items : null;
  });

/** `name=value` lines. */
export const pairsInput = (described: Described): Input<Readonly<Record<string, string>>> =>
  input(described, 'lines of the form `name=value`', (text) => {
    const pairs: Record<string, string> = {};
    for (const line of text.split(/\r?\n/).filter((each) => each.trim() !== '')) {
      const at = line.indexOf('=');
      if (at < 1) {
        return null;
      }
      pairs[line.slice(0, at).trim()] = line.slice(at + 1);
    }
    return pairs;
  });

/** A JSON array; `[]` if empty. */
export const jsonArrayInput = (described: Described): Input<readonly unknown[]> =>
  input(described, 'a JSON array such as `["a", 1]`', (text) => {
    try {
      const value: unknown = JSON.parse(text);
      return Array.isArray(value) ? value : null;
    } catch {
      return null;
    }
  });

/** Several lines, taken verbatim; validated by a parser of their own. */
export const linesInput = (described: Described, expected: string): Input<string> =>
  input(described, expected, (text) => (text.trim() === '' ? null : text));

/** Several lines, or empty; validated by a parser of their own. */
export const textBlockInput = (described: Described): Input<string> =>
  input(described, 'lines of YAML, or empty', (text) => text);

export const secretInput = (described: Described, expected: string): Input<string> =>
  input({ ...described, secret: true }, expected, (text) => text);

/** An absolute path without `..`, white space, quotes or characters special to systemd or shells. */
export const absolutePath = /^(?!.*(?:^|\/)\.\.?(?:\/|$))(?:\/[A-Za-z0-9._@:+-]+)+$/;

/**
 * A PostgreSQL URL without a password: `postgresql://app@127.0.0.1:5432/jobs`. For empty parts the
 * defaults of psql apply.
 */
const postgresUrl =
  /^postgres(?:ql)?:\/\/(?:[A-Za-z0-9_.%-]+@)?(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])?(?::[0-9]{1,5})?(?:\/[A-Za-z0-9_.%-]+)?(?:\?[A-Za-z0-9_=&%./-]*)?$/;

/** Whether this is a valid name of a job database. */
export const isDatabase = (text: string): boolean =>
  absolutePath.test(text) || (postgresUrl.test(text) && !/[?&]password=/i.test(text));

/** A job database, or empty to search for databases. */
export const maybeDatabaseInput = (described: Described): Input<{ readonly path: string | null }> =>
  input(
    { ...described, fallback: '' },
    'an absolute path (letters, digits and . _ @ : + - only, no `..`), a postgresql:// URL without a password, or empty',
    (text) => {
      const path = text.trim();
      return path === '' ? { path: null } : isDatabase(path) ? { path } : null;
    },
  );

/** The name of a time zone; an app may store local times without a zone. */
export const timeZoneInput = (described: Described): Input<string> =>
  input(described, 'a time zone such as UTC or Europe/Berlin', (text) => {
    try {
      return new Intl.DateTimeFormat('en', { timeZone: text.trim() }).resolvedOptions().timeZone;
    } catch {
      return null;
    }
  });

/** The name of a systemd service, with or without its suffix (systemd.unit(5)). */
const unitName = /^[A-Za-z0-9:_\\-][A-Za-z0-9:_.\\@-]{0,199}$/;

/** A systemd service; the suffix may be omitted and is added. */
export const unitInput = (described: Described): Input<string> =>
  input(described, 'the name of a systemd service such as celery-worker.service', (text) => {
    const name = text.trim();
    if (!unitName.test(name)) {
      return null;
    }
    return name.endsWith('.service') ? name : `${name}.service`;
  });

export const pathInput = (described: Described): Input<string> =>
  patternInput(
    described,
    'an absolute path such as /swapfile (letters, digits and . _ @ : + - only, no `..`)',
    absolutePath,
  );

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
