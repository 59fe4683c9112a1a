/**
 * The notes of a release, from CHANGELOG.md: `node tools/release-notes.ts v1.2.3` prints them.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import packageJson from '../package.json' with { type: 'json' };

/** A section of the changelog: its heading without `## `, and the text below it. */
export interface Section {
  readonly heading: string;
  readonly body: string;
}

/** The sections of a changelog, in their order. */
export function sectionsOf(changelog: string): Section[] {
  return changelog
    .split(/^## /m)
    .slice(1)
    .map((section) => {
      const [heading = '', ...lines] = section.split('\n');
      return { heading: heading.trim(), body: lines.join('\n').trim() };
    });
}

/** Whether a section says anything: its headings alone do not. */
export const isEmpty = ({ body }: Section): boolean =>
  body.split('\n').every((line) => line.trim() === '' || line.startsWith('#'));

/**
 * What the changelog says of a version, with addresses instead of paths: the page of a release has no
 * files beside it.
 *
 * @param home such as `https://github.com/owner/celeriac`
 * @throws Error when the version has no section, or an empty one
 */
export function notesOf(changelog: string, version: string, home: string): string {
  const section = sectionsOf(changelog).find(({ heading }) => heading.split(' ')[0] === version);
  if (section === undefined) {
    throw new Error(`CHANGELOG.md has no section for ${version}; expected "## ${version} - DATE"`);
  }
  if (isEmpty(section)) throw new Error(`CHANGELOG.md says nothing about ${version}`);
  const base = `${home}/blob/v${version}/`;
  return `${section.body.replace(/\]\((?!https?:|#)([^)\s]+)\)/g, `](${base}$1)`)}\n`;
}

/**
 * The notes of a tag, from the changelog of a work tree.
 *
 * @throws Error when the tag does not name the version of this work tree
 */
export function readNotes(root: string, tag: string): string {
  const version = /^v(\d+\.\d+\.\d+(?:-rc\.\d+)?)$/.exec(tag)?.[1];
  if (version === undefined) {
    throw new Error(`expected a tag such as v1.2.3, found ${JSON.stringify(tag)}`);
  }
  if (version !== packageJson.version) {
    throw new Error(`the tag is ${tag}, but package.json has version ${packageJson.version}`);
  }
  const changelog = readFileSync(join(root, 'CHANGELOG.md'), 'utf8');
  return notesOf(
    changelog,
    version,
    packageJson.repository.replace('github:', 'https://github.com/'),
  );
}

if (import.meta.main) {
  try {
    process.stdout.write(readNotes(join(import.meta.dirname, '..'), process.argv[2] ?? ''));
  } catch (error) {
    console.error(`release-notes: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}
