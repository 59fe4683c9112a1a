/**
 * Prepares a release: `npm run release -- 1.2.3`.
 *
 * Sets the version in package.json and its lock, in every reference to this repository by its tag, and
 * in the heading of the changelog, and writes the docs and bundles that contain it. It commits, tags
 * and pushes nothing: it prints the commands.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isEmpty, sectionsOf } from './release-notes.ts';

/** A refusal, for people. */
class ReleaseRefused extends Error {}

/** A file as it is and as it becomes, and what changes in it. */
export interface Change {
  readonly path: string;
  readonly text: string;
  readonly what: string;
}

/** What a release is prepared from. */
export interface Repository {
  /** Text files that Git tracks, by path. */
  readonly files: ReadonlyMap<string, string>;
  readonly tags: readonly string[];
  /** Lines of `git status --porcelain`. */
  readonly dirty: readonly string[];
}

const versionPattern = /^(\d+)\.(\d+)\.(\d+)(?:-rc\.(\d+))?$/;

/**
 * The changes of a release.
 *
 * @param today such as `2026-11-29`
 * @throws ReleaseRefused
 */
export function planRelease(
  { files, tags, dirty }: Repository,
  version: string,
  today: string,
): Change[] {
  if (!versionPattern.test(version)) {
    throw new ReleaseRefused(`invalid version "${version}"; expected e.g. 1.2.3 or 1.2.3-rc.1`);
  }
  if (dirty.length > 0) {
    throw new ReleaseRefused(
      `the work tree has uncommitted changes: ${dirty.slice(0, 5).join(', ')}; commit them first`,
    );
  }
  const manifest = fileOf(files, 'package.json');
  const present = (JSON.parse(manifest) as { version: string }).version;
  const changelog = fileOf(files, 'CHANGELOG.md');
  refuseOld(version, { present, tags, changelog });
  const change = (path: string, text: string, what: string): Change => ({ path, text, what });
  const changes = [
    change('package.json', setVersion(manifest, present, version), `version ${version}`),
    change('package-lock.json', lockOf(files, version), `version ${version}`),
    change('CHANGELOG.md', dateChangelog(changelog, version, today), `${version} - ${today}`),
    ...referencesOf(files, { present, version }),
  ];
  return changes.filter(({ path, text }) => files.get(path) !== text);
}

/** Newer than every release; the version that package.json names already may be the first one. */
function refuseOld(
  version: string,
  { present, tags, changelog }: { present: string; tags: readonly string[]; changelog: string },
): void {
  const released = [
    ...tags.map((tag) => tag.replace(/^v/, '')),
    ...sectionsOf(changelog).map(({ heading }) => heading.split(' ')[0] ?? ''),
  ].filter((each) => versionPattern.test(each));
  const notBelow = released.filter((each) => compareVersions(version, each) <= 0);
  const [newest] = notBelow.toSorted((a, b) => compareVersions(b, a));
  if (newest !== undefined) {
    throw new ReleaseRefused(`${version} is not newer than ${newest}, which was released`);
  }
  if (compareVersions(version, present) < 0) {
    throw new ReleaseRefused(`${version} is older than ${present}, which package.json has`);
  }
}

/** Negative: `a` is older. A release candidate is older than its release. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((text) =>
    (versionPattern.exec(text)?.slice(1) ?? []).map((part) =>
      part === undefined ? Number.POSITIVE_INFINITY : Number(part),
    ),
  );
  const at = left?.findIndex((part, index) => part !== right?.[index]) ?? -1;
  return at === -1 ? 0 : (left?.[at] ?? 0) < (right?.[at] ?? 0) ? -1 : 1;
}

function fileOf(files: ReadonlyMap<string, string>, path: string): string {
  const text = files.get(path);
  if (text === undefined) throw new ReleaseRefused(`the repository has no ${path}`);
  return text;
}

const setVersion = (text: string, from: string, to: string): string =>
  text.replace(`"version": "${from}"`, `"version": "${to}"`);

/** The lock has the version twice; npm writes it in this form. */
function lockOf(files: ReadonlyMap<string, string>, version: string): string {
  const text = fileOf(files, 'package-lock.json');
  const lock = JSON.parse(text) as {
    version: string;
    packages: Record<string, { version: string }>;
  };
  lock.version = version;
  const own = lock.packages[''];
  if (own !== undefined) own.version = version;
  return `${JSON.stringify(lock, null, 2)}\n`;
}

function dateChangelog(changelog: string, version: string, today: string): string {
  const section = sectionsOf(changelog).find(({ heading }) => heading === 'Unreleased');
  if (section === undefined || isEmpty(section)) {
    throw new ReleaseRefused('CHANGELOG.md has nothing below "## Unreleased"');
  }
  return changelog.replace(/^## Unreleased$/m, `## Unreleased\n\n## ${version} - ${today}`);
}

/** What tells of older versions, or makes up versions for a test. */
const own = /^(CHANGELOG\.md$|test\/.*\.ts$|tools\/)/;

/** `owner/celeriac@v0.1.0`, an address below `owner/celeriac`, the package of a release: wherever they are. */
function referencesOf(
  files: ReadonlyMap<string, string>,
  { present, version }: { present: string; version: string },
): Change[] {
  const { repository } = JSON.parse(fileOf(files, 'package.json')) as { repository: string };
  const home = escapePattern(repository.replace('github:', ''));
  const old = escapePattern(present);
  const references = [
    // Also https://raw.githubusercontent.com/owner/celeriac/v0.1.0/docs/… and …/releases/download/v0.1.0/…
    `(?<=${home}(?:/[\\w./-]+)?[@/]v)${old}(?=/|(?![\\w.-]*\\d))`,
    // The file, also once it is downloaded.
    `(?<=\\bceleriac-)${old}(?=(?:-[a-z0-9-]+\\.tar\\.gz|\\.tgz)\\b)`,
    // What people are shown as an example in a form.
    `(?<=^ *placeholder: v)${old}$`,
  ].join('|');
  return [...files].flatMap(([path, text]) => {
    const pattern = new RegExp(references, 'gm');
    const count = own.test(path) ? 0 : [...text.matchAll(pattern)].length;
    const what = `${count} ${count === 1 ? 'reference' : 'references'} to v${version}`;
    return count === 0 ? [] : [{ path, text: text.replace(pattern, version), what }];
  });
}

const escapePattern = (text: string): string => text.replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&');

/** Reads a work tree. Bundles are written anew, so they are left out. */
export function readRepository(root: string): Repository {
  const git = (...words: string[]): string[] =>
    execFileSync('git', words, { cwd: root, encoding: 'utf8' }).split('\n').filter(Boolean);
  const paths = git('ls-files').filter(
    (path) => !/(^|\/)dist\//.test(path) && /\.(md|ya?ml|json|ts|mts)$/.test(path),
  );
  return {
    files: new Map(paths.map((path) => [path, readFileSync(join(root, path), 'utf8')])),
    tags: git('tag', '--list'),
    dirty: git('status', '--porcelain'),
  };
}

function main(root: string, words: readonly string[]): void {
  const [version = ''] = words;
  const today = new Date().toISOString().slice(0, 10);
  const changes = planRelease(readRepository(root), version, today);
  for (const { path, text, what } of changes) {
    writeFileSync(join(root, path), text);
    console.log(`${path}: ${what}`);
  }
  // The version is in generated docs and in every bundle.
  for (const script of ['docs', 'build']) {
    execFileSync('npm', ['run', '--silent', script], { cwd: root, stdio: 'inherit' });
  }
  execFileSync('git', ['--no-pager', 'diff', '--stat'], { cwd: root, stdio: 'inherit' });
  console.log(nextSteps(version));
}

/** What is left to a person: nothing is committed, tagged or pushed here. */
export const nextSteps = (version: string): string => `
Nothing was committed or pushed. Read the changes (git diff), then:

  npm test
  git commit -am "Release ${version}"
  git tag -s v${version} -m "Celeriac ${version}"
  git push --atomic origin main v${version}

The tag starts .github/workflows/release.yml. To give up: git checkout -- .`;

if (import.meta.main) {
  try {
    main(join(import.meta.dirname, '..'), process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof ReleaseRefused)) throw error;
    console.error(`release: ${error.message}; nothing was changed`);
    process.exitCode = 1;
  }
}
