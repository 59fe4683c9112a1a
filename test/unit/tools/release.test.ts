import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compareVersions, nextSteps, planRelease } from '../../../tools/release.ts';
import { checksumsOf } from '../../../tools/release-files.ts';
import { notesOf } from '../../../tools/release-notes.ts';

const root = join(import.meta.dirname, '..', '..', '..');
const files = new Map([
  ['package.json', '{\n  "version": "0.1.0",\n  "repository": "github:owner/celeriac"\n}\n'],
  [
    'package-lock.json',
    '{\n  "version": "0.1.0",\n  "packages": {\n    "": {\n      "version": "0.1.0"\n    },\n    "a": {\n      "version": "0.1.0"\n    }\n  }\n}\n',
  ],
  [
    'CHANGELOG.md',
    '# Changelog\n\n## Unreleased\n\n### Added\n\n- owner/celeriac@v0.1.0 is old.\n',
  ],
  ['README.md', 'uses: owner/celeriac@v0.1.0\nuses: owner/celeriac/actions/verify@v0.1.0\n'],
  [
    'docs/how-to/terminal.md',
    'npx https://github.com/owner/celeriac/releases/download/v0.1.0/celeriac-0.1.0.tgz\nnpx ./celeriac-0.1.0.tgz\n',
  ],
  ['test/fixtures/init/celeriac.yml', 'uses: owner/celeriac@v0.1.0\n'],
  ['docs/how-to/fleet.md', '# $schema=https://raw.example.com/owner/celeriac/v0.1.0/docs/a.json\n'],
  ['.github/ISSUE_TEMPLATE/bug.yml', '      placeholder: v0.1.0\n'],
  ['test/a.test.ts', 'uses: owner/celeriac@v0.1.0\n'],
  [
    'other.yml',
    [
      'uses: owner/celeriac@v0.1.01',
      'uses: owner/celeriac@v0.1.0-rc.1',
      'uses: someone/else@v0.1.0',
      'some-0.1.0.tgz someone/else/releases/download/v0.1.0/',
      'placeholder: v0.1.0 or newer',
      '',
    ].join('\n'),
  ],
]);
const clean = { files, tags: [] as string[], dirty: [] as string[] };
const planned = (version: string, change: Partial<typeof clean> = {}) =>
  new Map(
    planRelease({ ...clean, ...change }, version, '2026-11-29').map(({ path, text }) => [
      path,
      text,
    ]),
  );
const withChangelog = (text: string) => ({ files: new Map([...files, ['CHANGELOG.md', text]]) });

describe('a release', () => {
  it('sets the version wherever it is this version, and nowhere else', () => {
    const changed = planned('0.2.0');
    expect([...changed.keys()].sort()).toEqual([
      '.github/ISSUE_TEMPLATE/bug.yml',
      'CHANGELOG.md',
      'README.md',
      'docs/how-to/fleet.md',
      'docs/how-to/terminal.md',
      'package-lock.json',
      'package.json',
      'test/fixtures/init/celeriac.yml',
    ]);
    expect(changed.get('docs/how-to/fleet.md')).toContain('/owner/celeriac/v0.2.0/docs/a.json');
    expect(changed.get('.github/ISSUE_TEMPLATE/bug.yml')).toBe('      placeholder: v0.2.0\n');
    expect(changed.get('docs/how-to/terminal.md')).toBe(
      'npx https://github.com/owner/celeriac/releases/download/v0.2.0/celeriac-0.2.0.tgz\nnpx ./celeriac-0.2.0.tgz\n',
    );
    expect(changed.get('package.json')).toContain('"version": "0.2.0"');
    const lock = JSON.parse(changed.get('package-lock.json') ?? '');
    expect(lock).toEqual({
      version: '0.2.0',
      packages: { '': { version: '0.2.0' }, a: { version: '0.1.0' } },
    });
    expect(changed.get('README.md')).toBe(
      'uses: owner/celeriac@v0.2.0\nuses: owner/celeriac/actions/verify@v0.2.0\n',
    );
    expect(changed.get('CHANGELOG.md')).toBe(
      '# Changelog\n\n## Unreleased\n\n## 0.2.0 - 2026-11-29\n\n### Added\n\n- owner/celeriac@v0.1.0 is old.\n',
    );
  });

  it('may be the first one, of the version that package.json has', () => {
    expect([...planned('0.1.0').keys()]).toEqual(['CHANGELOG.md']);
  });

  it.each([
    ['a word that is no version', '1.2', {}, 'invalid version "1.2"; expected e.g. 1.2.3'],
    ['a dirty tree', '0.2.0', { dirty: [' M README.md'] }, 'uncommitted changes:  M README.md'],
    ['a version with a tag', '0.2.0', { tags: ['v0.2.0'] }, '0.2.0 is not newer than 0.2.0'],
    ['a version below a tag', '0.9.0', { tags: ['v0.10.0', 'v0'] }, 'not newer than 0.10.0'],
    ['a candidate after its release', '0.2.0-rc.1', { tags: ['v0.2.0'] }, 'not newer than 0.2.0'],
    ['an older one than package.json', '0.0.9', {}, '0.0.9 is older than 0.1.0'],
    [
      'a version that the changelog has',
      '0.1.0',
      withChangelog('## Unreleased\n\n- a\n\n## 0.1.0 - 2026-01-01\n\n- b\n'),
      '0.1.0 is not newer than 0.1.0',
    ],
    [
      'nothing to say',
      '0.2.0',
      withChangelog('## Unreleased\n\n### Added\n\n## 0.1.0 - 2026-01-01\n\n- b\n'),
      'nothing below "## Unreleased"',
    ],
    [
      'no place to say it',
      '0.2.0',
      withChangelog('# Changelog\n'),
      'nothing below "## Unreleased"',
    ],
  ])('is refused for %s', (_, version, change, problem) => {
    expect(() => planned(version, change)).toThrow(problem);
  });

  it('orders versions as they are released', () => {
    const ordered = ['0.9.0', '0.10.0-rc.2', '0.10.0-rc.10', '0.10.0', '1.0.0'];
    expect(ordered.toReversed().sort(compareVersions)).toEqual(ordered);
  });

  it('leaves commit, tag and push to a person', () => {
    expect(nextSteps('1.2.3')).toContain('git tag -s v1.2.3');
    expect(nextSteps('1.2.3')).toContain('Nothing was committed or pushed');
  });
});

describe('in this repository', () => {
  const clone = mkdtempSync(join(tmpdir(), 'celeriac-release-'));
  execFileSync('git', ['clone', '--quiet', '--shared', root, clone]);

  it('writes nothing while the tree is dirty', () => {
    writeFileSync(join(clone, 'README.md'), 'changed\n');
    symlinkSync(join(root, 'node_modules'), join(clone, 'node_modules'));
    const tool = join(root, 'tools/release.ts');
    // The tool of this work tree may be newer than the clone's.
    execFileSync('cp', [tool, join(root, 'tools/release-notes.ts'), join(clone, 'tools')]);
    const ended = spawnSync(process.execPath, ['tools/release.ts', '99.0.0'], {
      cwd: clone,
      encoding: 'utf8',
    });
    expect(ended.stderr).toMatch(
      /release: the work tree has uncommitted changes.*nothing was changed/,
    );
    expect(ended.status).toBe(1);
    expect(JSON.parse(readFileSync(join(clone, 'package.json'), 'utf8')).version).not.toBe(
      '99.0.0',
    );
  });
});

describe('the notes of a release', () => {
  const home = 'https://github.com/owner/celeriac';
  const changelog = `# Changelog

## Unreleased

- later

## 0.2.0 - 2026-11-29

### Added

- [how](docs/how-to/soak.md), [why](https://example.com/), [here](#x).

## 0.1.0 - 2026-01-01

### Added
`;

  it('are what the changelog says of it, with links that work elsewhere', () => {
    expect(notesOf(changelog, '0.2.0', home)).toBe(
      `### Added\n\n- [how](${home}/blob/v0.2.0/docs/how-to/soak.md), [why](https://example.com/), [here](#x).\n`,
    );
  });

  it('are refused where the changelog says nothing', () => {
    expect(() => notesOf(changelog, '0.1.0', home)).toThrow('says nothing about 0.1.0');
    expect(() => notesOf(changelog, '0.3.0', home)).toThrow('no section for 0.3.0');
  });

  it('are refused for a tag that is not the version of package.json', () => {
    const print = (tag: string) =>
      spawnSync(process.execPath, [join(root, 'tools/release-notes.ts'), tag], {
        encoding: 'utf8',
      });
    expect(print('v98.0.0').stderr).toMatch(/the tag is v98.0.0, but package.json has version/);
    expect(print('main').stderr).toMatch(/expected a tag such as v1.2.3, found "main"/);
    expect(print('main').status).toBe(1);
  });
});

describe('the checksums', () => {
  it('are those that sha256sum reads', () => {
    const folder = mkdtempSync(join(tmpdir(), 'celeriac-sums-'));
    const files = new Map([
      ['b.tgz', Buffer.from('b')],
      ['a.json', Buffer.from('a')],
    ]);
    for (const [name, content] of files) writeFileSync(join(folder, name), content);
    const ended = spawnSync('sha256sum', ['--check'], {
      cwd: folder,
      input: checksumsOf(files),
      encoding: 'utf8',
    });
    expect(ended.stdout).toBe('a.json: OK\nb.tgz: OK\n');
  });
});
