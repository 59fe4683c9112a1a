import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { matchesPattern } from '../adapters/ssh/host-patterns.ts';

/** The files that an absolute pattern names, as a shell would list them: `*` and `?` in any part. */
export function listFiles(pattern: string): readonly string[] {
  const parts = pattern.split('/').filter((part) => part !== '');
  let found: readonly string[] = ['/'];
  for (const part of parts) {
    found = /[*?]/.test(part)
      ? found.flatMap((folder) => namesIn(folder, part).map((name) => join(folder, name)))
      : found.map((folder) => join(folder, part));
  }
  return found;
}

function namesIn(folder: string, pattern: string): readonly string[] {
  try {
    return readdirSync(folder)
      .filter((name) => !name.startsWith('.') || pattern.startsWith('.'))
      .filter((name) => matchesPattern(pattern, name))
      .sort();
  } catch {
    return [];
  }
}
