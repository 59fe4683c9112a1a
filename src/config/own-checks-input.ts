import { z } from 'zod/mini';
import { ConfigError } from '../model/errors.ts';
import type { OwnCheck } from '../model/own-check.ts';
import { type Seconds, seconds } from '../model/units.ts';
import { readWords } from './companion-inputs.ts';
import { urlPattern } from './input.ts';
import { parseDuration } from './quantities.ts';
import { readYamlList } from './yaml-list.ts';

const mostChecks = 20;
const longestTimeout = seconds(600);
const usualTimeout = seconds(30);

const words = z.union(
  [
    z
      .array(z.string().check(z.minLength(1), z.maxLength(4096)))
      .check(z.minLength(1), z.maxLength(100)),
    z.pipe(
      z.string(),
      z.transform((text, context): string[] => {
        const found = readWords(text);
        if (found !== null && found.length > 0) return [...found];
        context.issues.push({ code: 'custom', input: text });
        return z.NEVER;
      }),
    ),
  ],
  'expected a command without shell syntax (`$`, `|`, `;`, `&`, `<`, `>`, `*`), or a list of words',
);

const urlForm = urlPattern(/^https?:\/\/[^\s"'<>@]+$/);
const url = z
  .string()
  .check(z.refine((text) => urlForm.test(text), 'expected an http or https URL'));

const timeout = z.pipe(
  z.string(),
  z.transform((text, context): Seconds => {
    const found = parseDuration(text);
    if (found !== null && found > 0 && found <= longestTimeout) return seconds(found);
    context.issues.push({
      code: 'custom',
      input: text,
      message: 'expected a duration of at most 10 min, e.g. 30s',
    });
    return z.NEVER;
  }),
);

const checkShape = z.strictObject({
  name: z.string().check(
    z.regex(
      // In editors, too, where `\p{Cc}` may mean other letters.
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it must not contain.
      /^\S(?:[^\u0000-\u001f\u007f-\u009f]{0,98}\S)?$/u,
      'expected a name of at most 100 characters on one line',
    ),
  ),
  command: z.optional(words),
  url: z.optional(url),
  'exit-code': z.optional(z.int().check(z.gte(0), z.lte(255))),
  status: z.optional(z.int().check(z.gte(100), z.lte(599))),
  contains: z.optional(z.string().check(z.minLength(1), z.maxLength(1000))),
  timeout: z.optional(timeout),
});

type Written = z.infer<typeof checkShape>;

/** The list as YAML. */
export const checksShape = z
  .array(checkShape)
  .check(z.maxLength(mostChecks, `expected at most ${mostChecks} checks`));

/** Every name that a check may have. */
const fields: ReadonlySet<string> = new Set(Object.keys(checkShape.shape));

const expected =
  'a list of checks: `name`; `command` or `url`; optionally `exit-code` or `status`, `contains`, `timeout`';

/**
 * Reads the input `checks`, a YAML list:
 *
 * ```yaml
 * - name: migrations are applied
 *   command: python manage.py migrate --check
 * - name: queue board
 *   url: http://127.0.0.1:5555/healthcheck
 *   contains: OK
 * ```
 *
 * @throws ConfigError with the line and what is expected
 */
export function parseOwnChecks(text: string): readonly OwnCheck[] {
  const kind = { input: 'checks', item: 'check', shape: checksShape, fields, expected } as const;
  const { items, at } = readYamlList<Written>(text, kind);
  const names = new Set<string>();
  return items.map((written, index) => {
    if (names.has(written.name)) {
      const problem = 'two `checks` have the same name';
      throw new ConfigError(at([index, 'name']), problem, 'a name of its own for each');
    }
    names.add(written.name);
    return checkOf(written, at([index]));
  });
}

function checkOf(written: Written, where: string): OwnCheck {
  const common = {
    name: written.name,
    timeoutSeconds: written.timeout ?? usualTimeout,
    contains: written.contains ?? null,
  };
  const { command, url, status } = written;
  const exitCode = written['exit-code'];
  if (command !== undefined && url === undefined && status === undefined) {
    return { ...common, kind: 'command', argv: command, exitCode: exitCode ?? 0 };
  }
  if (url !== undefined && command === undefined && exitCode === undefined) {
    return { ...common, kind: 'url', url, status: status ?? null };
  }
  const problem =
    command === undefined && url === undefined
      ? 'one of the `checks` has neither `command` nor `url`'
      : 'one of the `checks` mixes a `command` (with `exit-code`) and a `url` (with `status`)';
  throw new ConfigError(where, problem, expected);
}
