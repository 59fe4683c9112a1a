import type { z } from 'zod/mini';

type Issue = z.core.$ZodIssue;

/** `problem`: what is wrong with it, e.g. `active[0].size is missing`. */
export type Reading<Type> =
  | { readonly kind: 'read'; readonly value: Type }
  | { readonly kind: 'refused'; readonly problem: string };

/** Compares a value with its shape. A problem repeats no value: it may be a secret. */
export function readShape<Type>(shape: z.ZodMiniType<Type>, value: unknown): Reading<Type> {
  // A run reads each shape once or twice: a parser compiled for it would cost more than it saves.
  const parsed = shape.safeParse(value, { jitless: true });
  if (parsed.success) return { kind: 'read', value: parsed.data };
  const [first, ...others] = parsed.error.issues;
  if (first === undefined) return { kind: 'refused', problem: 'it has an unexpected shape' };
  const more = others.length === 0 ? '' : ` (and ${others.length} more)`;
  return { kind: 'refused', problem: `${describeIssue(value, first)}${more}` };
}

function describeIssue(value: unknown, issue: Issue): string {
  const where = describePath(issue.path) || 'it';
  const found = issue.path.reduce(follow, value);
  if (found === undefined) return `${where} is missing`;
  switch (issue.code) {
    case 'invalid_type':
      return `${where} is ${typeName(found)}, expected ${issue.expected}`;
    case 'invalid_value':
      return `${where} is not one of ${issue.values.map((each) => String(each)).join(', ')}`;
    case 'invalid_union':
      // The path of a discriminated union leads to its discriminator.
      return issue.discriminator === undefined
        ? `${where} has an unexpected type: ${typeName(found)}`
        : `${where} has an unknown value`;
    default:
      return `${where} is invalid`;
  }
}

/** `active[0].size`; a key that is not a plain name comes from the host, and is shown as `[…]`. */
function describePath(path: Issue['path']): string {
  const parts = path.map((key) => {
    if (typeof key === 'number') return `[${key}]`;
    return /^[A-Za-z]\w*$/.test(String(key)) ? `.${String(key)}` : '[…]';
  });
  return parts.join('').replace(/^\./, '');
}

function follow(value: unknown, key: PropertyKey): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}
