import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { type BundleFile, bundlePrograms } from './bundle.ts';

const root = path.join(import.meta.dirname, '..');

/** One line for each file of `dist` that differs from a build of the sources. */
function differences(built: readonly BundleFile[]): string[] {
  const wanted = new Map(built.map((file) => [file.path, file.content]));
  const found = globSync(['actions/*/dist/**', 'cli/dist/**'], { cwd: root, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)));
  const lines = found
    .filter((file) => !wanted.has(file))
    .map((file) => `${file}: not built by the sources`);
  for (const [file, content] of wanted) {
    if (!found.includes(file)) lines.push(`${file}: missing`);
    else if (!readFileSync(path.join(root, file)).equals(content)) lines.push(`${file}: differs`);
  }
  return lines.sort();
}

function report(built: readonly BundleFile[]): boolean {
  const lines = differences(built);
  if (built.length === 0) {
    console.error('dist: found no program; expected actions/<name>/main.ts and cli/main.ts');
    return false;
  }
  if (lines.length > 0) {
    console.error('dist: out of date:');
    for (const line of lines) console.error(`  ${line}`);
    console.error("Run 'npm run build' and commit actions/*/dist and cli/dist with the sources.");
    return false;
  }
  console.log(`dist: ${built.length} files are up to date.`);
  return true;
}

try {
  process.exitCode = report(await bundlePrograms(root)) ? 0 : 1;
} catch (error) {
  console.error(`dist: ${(error as Error).message}`);
  process.exitCode = 1;
}
