import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { digest, SANDBOX_FOLDER } from './folders.ts';

/** Everything that goes into the image. */
export const RECIPE_FOLDER = join(SANDBOX_FOLDER, 'recipe');

/** The code that builds the image from the recipe: the image depends on it, too. */
const BUILDER_FILES = ['image.ts', 'debian-sources.ts'];

/** The recipe's hash: the name of its image. */
export function hashRecipe(): string {
  const files = [...listFiles(RECIPE_FOLDER), ...BUILDER_FILES.map((f) => join(SANDBOX_FOLDER, f))];
  const parts = files.flatMap((file) => [relative(SANDBOX_FOLDER, file), readFileSync(file)]);
  return digest(...parts).slice(0, 16);
}

/** The recipe's lists have one name per line and `#` comments. */
export function readList(file: string): string[] {
  return readFileSync(join(RECIPE_FOLDER, file), 'utf8')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}

function listFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/\.pyc$|\.db$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}
