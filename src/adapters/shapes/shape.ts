import { z } from 'zod';
import type { Bytes, EpochSeconds, Seconds, Sha256 } from '../../model/units.ts';

/* The agent promises the units: that a number is one of bytes can't be seen from the number. */
const number = z.number();
export const bytes = number as unknown as z.ZodType<Bytes>;
export const seconds = number as unknown as z.ZodType<Seconds>;
export const epochSeconds = number as unknown as z.ZodType<EpochSeconds>;
export const sha256 = z.string().regex(/^[0-9a-f]{64}$/) as unknown as z.ZodType<Sha256>;

export const text = z.string();
export const texts = z.array(text);

/** A type without its `readonly`, and with its intersections merged. */
type Plain<T> = T extends string | number | boolean | null | undefined
  ? T
  : T extends readonly (infer Item)[]
    ? Plain<Item>[]
    : { -readonly [Key in keyof T]: Plain<T[Key]> };

type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/**
 * Ties a schema to its type in `src/model`: it does not compile when one has a key that the other
 * lacks, or another type for it.
 *
 * Keys that the schema does not know are dropped, not refused: some facts come from files that
 * another version left on the host. A test shows that nothing of the real facts is lost.
 */
export const shapeOf =
  <Type>() =>
  <Schema extends z.ZodType>(
    schema: Schema & (Same<Plain<z.output<Schema>>, Plain<Type>> extends true ? unknown : never),
  ): z.ZodType<Type> =>
    schema as unknown as z.ZodType<Type>;
