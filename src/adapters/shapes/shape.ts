import { z } from 'zod';
import type { Bytes, EpochSeconds, Seconds, Sha256 } from '../../model/units.ts';

/* The protocol defines the units; a plain number cannot show them. */
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
 * Ties a schema to its type in `src/model`: it does not compile if one has a key that the other
 * lacks, or a key with a different type.
 *
 * Unknown keys are dropped, not rejected: some facts come from files that another version wrote on
 * the host. A test shows that no key of the real facts is lost.
 */
export const shapeOf =
  <Type>() =>
  <Schema extends z.ZodType>(
    schema: Schema & (Same<Plain<z.output<Schema>>, Plain<Type>> extends true ? unknown : never),
  ): z.ZodType<Type> =>
    schema as unknown as z.ZodType<Type>;
