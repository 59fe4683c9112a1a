/**
 * What Node.js 20 lacks of the language, for servers that have no newer one. Imported before anything
 * else; on newer versions it changes nothing.
 */

type Keyed<Key, Item> = Map<Key, Item[]>;

function define(target: object, name: string, value: unknown): void {
  if (name in target) return;
  Object.defineProperty(target, name, { value, writable: true, configurable: true });
}

define(
  Map,
  'groupBy',
  <Key, Item>(items: Iterable<Item>, keyOf: (item: Item, at: number) => Key) => {
    const groups: Keyed<Key, Item> = new Map();
    let at = 0;
    for (const item of items) {
      const key = keyOf(item, at);
      at += 1;
      groups.set(key, [...(groups.get(key) ?? []), item]);
    }
    return groups;
  },
);

define(Promise, 'withResolvers', () => {
  let settle: object = {};
  const promise = new Promise((resolve, reject) => {
    settle = { resolve, reject };
  });
  return { promise, ...settle };
});

define(Set.prototype, 'union', function union(this: Set<unknown>, other: Set<unknown>) {
  return new Set([...this, ...other.keys()]);
});

define(
  Set.prototype,
  'intersection',
  function intersection(this: Set<unknown>, other: Set<unknown>) {
    return new Set([...this].filter((each) => other.has(each)));
  },
);

define(Set.prototype, 'difference', function difference(this: Set<unknown>, other: Set<unknown>) {
  return new Set([...this].filter((each) => !other.has(each)));
});
