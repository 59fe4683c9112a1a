import { expect, test } from 'vitest';
import { z } from 'zod/mini';
import { bytes, seconds, shapeOf, text } from '../../../../src/adapters/shapes/shape.ts';
import type { Bytes } from '../../../../src/model/units.ts';

interface Disk {
  readonly path: string;
  readonly size: Bytes;
  readonly labels?: readonly string[];
}

const path = text;
const size = bytes;
const labels = z.exactOptional(z.array(text));

test('a schema that differs from its type does not compile', () => {
  const right = z.object({ path, size, labels });
  expect(shapeOf<Disk>()(right)).toBe(right);
  // @ts-expect-error: `path` is missing
  shapeOf<Disk>()(z.object({ size, labels }));
  // @ts-expect-error: `labels` is missing, and would be dropped
  shapeOf<Disk>()(z.object({ path, size }));
  // @ts-expect-error: `labels` may be missing
  shapeOf<Disk>()(z.object({ path, size, labels: z.array(text) }));
  // @ts-expect-error: `owner` is not in the type
  shapeOf<Disk>()(z.object({ path, size, labels, owner: text }));
  // @ts-expect-error: the size is in bytes
  shapeOf<Disk>()(z.object({ path, size: seconds, labels }));
  // @ts-expect-error: the path is never null
  shapeOf<Disk>()(z.object({ path: z.nullable(text), size, labels }));
});
