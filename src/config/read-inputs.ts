import { ConfigError } from '../model/errors.ts';
import type { FleetValue, FleetValues } from './fleet-file.ts';
import type { Input, Inputs, ValuesOf } from './input.ts';
import { showValue } from './shown-value.ts';

/**
 * The values of an action's inputs: from the workflow, else from the fleet file, else the default.
 *
 * @param given returns the text that the workflow sets for an input, `''` for none
 * @throws ConfigError with the input (or the line of the fleet file) and what is expected
 */
export function readInputs<const Set extends Inputs>(
  inputs: Set,
  given: Given,
  fleet: FleetValues,
): ValuesOf<Set> {
  const values: Record<string, unknown> = {};
  for (const [name, input] of Object.entries(inputs)) {
    const direct = given(name);
    const standing = fleet.get(name);
    const isStanding = direct === '' || standing?.namedBy === direct;
    const source = isStanding ? standing : { text: direct, where: `input ${name}` };
    const text = source?.text ?? input.fallback;
    const where = source?.where ?? `input ${name}`;
    if (text === null) {
      throw new ConfigError(where, `missing \`${name}\``, input.expected);
    }
    const parsed = input.schema.safeParse(text);
    if (!parsed.success) {
      throw new ConfigError(where, `invalid \`${name}\`${shown(input, text)}`, input.expected);
    }
    values[name] = parsed.data;
  }
  refuseOverridden(inputs, given, fleet);
  return values as ValuesOf<Set>;
}

/** The text that the workflow sets for an input; `''` for none. */
export type Given = (name: string) => string;

/** An input that would be ignored; a standing value in the fleet file may be. */
function refuseOverridden(inputs: Inputs, given: Given, fleet: FleetValues): void {
  for (const [name, { overrides }] of Object.entries(inputs)) {
    const isDirect = given(name) !== '';
    if (!isDirect && !fleet.has(name)) continue;
    for (const other of overrides) {
      const text = given(other) || (isDirect ? '' : (fleet.get(other)?.text ?? ''));
      if (text.trim() === '' || text.trim() === inputs[other]?.fallback) continue;
      throw new ConfigError(
        `input ${name}`,
        `\`${name}\` cannot be combined with \`${other}\`${shown(inputs[other], text)}, which it would ignore`,
        'one of the two',
      );
    }
  }
}

/**
 * The place in the fleet file of an error about an input whose value comes from there.
 *
 * @returns the error itself when its value comes from elsewhere
 */
export function locateError(error: unknown, given: Given, fleet: FleetValues): unknown {
  if (!(error instanceof ConfigError)) return error;
  const [, name = '', line, column] =
    /^input ([a-z0-9-]+)(?:, line ([0-9]+), column ([0-9]+))?$/.exec(error.where) ?? [];
  if (name === '' || given(name) !== '') return error;
  const [value] = [name, ...error.because].flatMap((each) =>
    given(each) === '' ? (fleet.get(each) ?? []) : [],
  );
  if (value === undefined) return error;
  const { message, expected } = error;
  const named = message.includes(`\`${name}\``) ? message : `\`${name}\`: ${message}`;
  return new ConfigError(placeOf(value, Number(line), Number(column)), named, expected, {
    cause: error,
  });
}

function placeOf({ where, own }: FleetValue, line: number, column: number): string {
  if (own === undefined || Number.isNaN(line)) return where;
  const place = `:${own.firstLine + line - 1}:${own.indent + column}`;
  return where.replace(/:\d+:\d+$/, place);
}

/** `: "value"`, if it may be shown. */
function shown(input: Input<unknown> | undefined, text: string): string {
  const value = input === undefined || input.hidden ? '' : showValue(text);
  return value === '' ? '' : `: ${value}`;
}
