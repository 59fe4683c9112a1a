import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The texts of all files of a name below a folder, by path; none if there is no such folder.
 *
 * Links are not followed.
 *
 * @throws Error when one cannot be read, or there is more than the limits allow
 */
export function readFiles(
  folder: string,
  name: string,
  limits: { readonly files: number; readonly bytes: number },
): readonly string[] {
  const paths = listFiles(folder)
    .filter((path) => path.endsWith(`/${name}`))
    .sort();
  if (paths.length > limits.files) {
    throw new Error(`${folder} has ${paths.length} files ${name}, more than ${limits.files}`);
  }
  return paths.map((path) => {
    const { size } = statSync(path);
    if (size > limits.bytes) throw new Error(`${path} has more than ${limits.bytes} bytes`);
    return readFileSync(path, 'utf8');
  });
}

function listFiles(folder: string): readonly string[] {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
