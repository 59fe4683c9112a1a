import { ConfigError } from '../model/errors.ts';
import type { FleetValues } from './fleet-file.ts';
import type { Inputs, ValuesOf } from './input.ts';

/** How much of an invalid value the error repeats. */
const shownCharacters = 60;

/**
 * The values of an action's inputs: from the workflow, else from the fleet file, else the default.
 *
 * @param given returns the text that the workflow sets for an input, `''` for none
 * @throws ConfigError with the input (or the line of the fleet file) and what is expected
 */
export function readInputs<const Set extends Inputs>(
  inputs: Set,
  given: (name: string) => string,
  fleet: FleetValues,
): ValuesOf<Set> {
  const values: Record<string, unknown> = {};
  for (const [name, input] of Object.entries(inputs)) {
    const direct = given(name);
    const source = direct === '' ? fleet.get(name) : { text: direct, where: `input ${name}` };
    const text = source?.text ?? input.fallback;
    const where = source?.where ?? `input ${name}`;
    if (text === null) {
      throw new ConfigError(where, `missing \`${name}\``, input.expected);
    }
    const parsed = input.schema.safeParse(text);
    if (!parsed.success) {
      const shown = input.secret ? '' : `: ${showValue(text)}`;
      throw new ConfigError(where, `invalid \`${name}\`${shown}`, input.expected);
    }
    values[name] = parsed.data;
  }
  return values as ValuesOf<Set>;
}

/** The value on one line: quoted, shortened, control characters escaped. */
function showValue(text: string): string {
  const short = text.length > shownCharacters ? `${text.slice(0, shownCharacters)}…` : text;
  return JSON.stringify(short);
}
