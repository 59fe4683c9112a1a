import { readdirSync, readFileSync } from 'node:fs';
import { isAbsolute, join, relative } from 'node:path';
import type { Edition } from './edition.ts';
import { digest, SANDBOX_FOLDER } from './folders.ts';

/** Everything that goes into the image. */
export const RECIPE_FOLDER = join(SANDBOX_FOLDER, 'recipe');

/** The code that builds the image from the recipe: the image depends on it, too. */
const BUILDER_FILES = ['image.ts', 'debian-sources.ts'];

/** What differs between two versions of the builder, but not between the images that they build. */
const SAME_IMAGE: Readonly<Record<string, string>> = {
  aae33381cdd9d63e: 'a5d75bc71d41d228',
};

/** The recipe's hash, with what the edition adds: the name of its image. */
export function hashRecipe(edition: Edition): string {
  const builder = BUILDER_FILES.map((file) => join(SANDBOX_FOLDER, file));
  const files = [...listFiles(RECIPE_FOLDER), ...builder, ...edition.files];
  const nameOf = (file: string): string => relative(SANDBOX_FOLDER, file);
  const parts = files.flatMap((file) => [nameOf(file), readFileSync(file)]);
  // Wherever the checkout is.
  const args = edition.complete?.args.map((word) => (isAbsolute(word) ? nameOf(word) : word)) ?? [];
  const hash = digest(...parts, ...edition.packages, ...args).slice(0, 16);
  return SAME_IMAGE[hash] ?? hash;
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
