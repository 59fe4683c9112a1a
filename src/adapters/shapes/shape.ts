import { z } from 'zod/mini';
import type { Bytes, EpochSeconds, Seconds, Sha256 } from '../../model/units.ts';

/* The protocol defines the units; a plain number cannot show them. */
const number = z.number();
export const bytes = number as unknown as z.ZodMiniType<Bytes>;
export const seconds = number as unknown as z.ZodMiniType<Seconds>;
export const epochSeconds = number as unknown as z.ZodMiniType<EpochSeconds>;
export const sha256 = z
  .string()
  .check(z.regex(/^[0-9a-f]{64}$/)) as unknown as z.ZodMiniType<Sha256>;

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
  <Schema extends z.ZodMiniType>(
    schema: Schema & (Same<Plain<z.output<Schema>>, Plain<Type>> extends true ? unknown : never),
  ): z.ZodMiniType<Type> =>
    schema as unknown as z.ZodMiniType<Type>;
