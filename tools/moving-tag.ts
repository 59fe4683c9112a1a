/**
 * Prints the moving tag that follows a release, such as `v1` for `v1.2.3`; nothing if none does.
 * Reads all tags, one per line, from its input.
 */
import { text } from 'node:stream/consumers';
import { compareVersions } from './release.ts';

const release = /^v(\d+)\.\d+\.\d+$/;

/**
 * The tag of the major version, if no newer release of it exists: a fix of an old one must not take
 * users back. `null` for a release candidate.
 */
export function movingTag(tag: string, tags: readonly string[]): string | null {
  const major = release.exec(tag)?.[1];
  if (major === undefined) return null;
  const isNewest = tags
    .filter((each) => release.exec(each)?.[1] === major)
    .every((each) => compareVersions(each.slice(1), tag.slice(1)) <= 0);
  return isNewest ? `v${major}` : null;
}

if (import.meta.main) {
  const tags = (await text(process.stdin)).split('\n');
  process.stdout.write(`${movingTag(process.argv[2] ?? '', tags) ?? ''}\n`);
}
