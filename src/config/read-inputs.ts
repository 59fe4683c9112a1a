import { ConfigError } from '../model/errors.ts';
import type { FleetValues } from './fleet-file.ts';
import type { Inputs, ValuesOf } from './input.ts';

/** How much of a wrong value is repeated in the error. */
const shownCharacters = 60;

/**
 * The values of an action's inputs: what the workflow gives, else the fleet file, else the default.
 *
 * @param given the text that the workflow gives for an input, `''` for none
 * @throws ConfigError naming the input (or the line of the fleet file) and what was expected
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
      throw new ConfigError(where, `\`${name}\` is not given`, input.expected);
    }
    const parsed = input.schema.safeParse(text);
    if (!parsed.success) {
      const shown = input.secret ? '' : `: ${showValue(text)}`;
      throw new ConfigError(where, `\`${name}\` is not right${shown}`, input.expected);
    }
    values[name] = parsed.data;
  }
  return values as ValuesOf<Set>;
}

/** The value on one line, quoted, without control characters, shortened. */
function showValue(text: string): string {
  const short = text.length > shownCharacters ? `${text.slice(0, shownCharacters)}…` : text;
  return JSON.stringify(short);
}
