type Path = readonly (string | number)[];

/** The path of each key in a JSON value, e.g. `['active', 0, 'path']`. */
export function keyPaths(value: unknown): readonly Path[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => {
    const key = Array.isArray(value) ? Number(name) : name;
    const below = keyPaths(inner).map((path) => [key, ...path]);
    return typeof key === 'number' ? below : [[key], ...below];
  });
}

/** As an error shows it: `active[0].path`. */
export function shownPath(path: Path): string {
  const parts = path.map((key) => {
    if (typeof key === 'number') return `[${key}]`;
    return /^\w+$/.test(key) ? `.${key}` : '[…]';
  });
  return parts.join('').replace(/^\./, '');
}

export function without(value: unknown, path: Path): unknown {
  return changed(value, path, (owner, key) => Reflect.deleteProperty(owner, key));
}

export function withValue(value: unknown, path: Path, other: unknown): unknown {
  return changed(value, path, (owner, key) => Reflect.set(owner, key, other));
}

function changed(
  value: unknown,
  path: Path,
  change: (owner: object, key: string | number) => void,
): unknown {
  const copy = structuredClone(value);
  const owner = path.slice(0, -1).reduce((each, key) => Reflect.get(Object(each), key), copy);
  change(Object(owner), path.at(-1) ?? '');
  return copy;
}
