import { execFileSync } from 'node:child_process';
import { lstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { workflowText } from '../../../src/plan/init/workflow-text.ts';
import { renderPipelineYml } from '../../../tools/action-yml.ts';
import { planRelease, readRepository } from '../../../tools/release.ts';

const root = join(import.meta.dirname, '../../..');
const repository = 'owner/celeriac';
const version = '99.0.0';

type Texts = ReadonlyMap<string, string>;

/** What a release makes of a tree whose changelog has something to tell, and the paths that it changes. */
function release(files: Texts, to: string): { readonly files: Texts; readonly paths: string[] } {
  // A release commit has nothing below it.
  const changelog = (files.get('CHANGELOG.md') ?? '').replace(
    /^## Unreleased$/m,
    '## Unreleased\n\n- Something.',
  );
  const given = new Map([...files, ['CHANGELOG.md', changelog]]);
  const changes = planRelease({ files: given, tags: [], dirty: [] }, to, '2026-11-29');
  return {
    files: new Map([...given, ...changes.map(({ path, text }) => [path, text] as const)]),
    paths: changes.map(({ path }) => path).sort(),
  };
}

const { files } = readRepository(root);
const old = (JSON.parse(files.get('package.json') ?? '') as { version: string }).version;
const released = release(files, version);

/** Every text that Git tracks, also of the kinds that a release does not read. */
function readTexts(after: Texts): readonly (readonly [path: string, text: string])[] {
  return (
    execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' })
      .split('\0')
      // The bundles are written anew.
      .filter((path) => path !== '' && !/(^|\/)dist\//.test(path))
      .filter((path) => lstatSync(join(root, path), { throwIfNoEntry: false })?.isFile())
      .map((path) => [path, after.get(path) ?? readFileSync(join(root, path), 'utf8')] as const)
      .filter(([, text]) => !text.includes('\0'))
  );
}

/** What names this repository or its package together with a version. */
function findReferences(text: string, to: string): readonly string[] {
  const words = text.includes(to) ? (text.match(/[^\s'"`()<>]+/g) ?? []) : [];
  const named = new RegExp(`(?<![\\d.])${to.replaceAll('.', '\\.')}(?!\\d|\\.\\d)`);
  return words.filter(
    (word) => (word.includes(repository) || word.includes('celeriac-')) && named.test(word),
  );
}

/** These tell of older versions, or make up versions. */
const ofOthers = /^(?:CHANGELOG\.md$|test\/.*\.ts$|tools\/)/;

describe('a release of this work tree', () => {
  it('leaves no reference to the version before it', () => {
    const texts = readTexts(released.files).filter(([path]) => !ofOthers.test(path));
    const left = texts.flatMap(([path, text]) =>
      findReferences(text, old).map((word) => `${path}: ${word}`),
    );
    expect(left).toEqual([]);
    const now = texts.filter(([, text]) => findReferences(text, version).length > 0);
    expect(now.map(([path]) => path)).toEqual(
      expect.arrayContaining([
        'README.md',
        'action.yml',
        'actions/fleet-host/action.yml',
        '.github/workflows/pipeline.yml',
        'docs/how-to/fleet.md',
        'docs/reference/fleet-file.md',
        'test/fixtures/init/celeriac.yml',
      ]),
    );
  });

  it('finds a reference wherever it is', () => {
    const told = [
      'uses: owner/celeriac/actions/verify@v1.2.0',
      '`npx celeriac-1.2.0-linux-x64.tar.gz`',
      '[a](https://github.com/owner/celeriac/blob/v1.2.0/README.md)',
    ];
    expect(told.flatMap((line) => findReferences(line, '1.2.0'))).toHaveLength(told.length);
    expect(findReferences('owner/celeriac@v1.2.01 other@v1.2.0 celeriac-11.2.0', '1.2.0')).toEqual(
      [],
    );
  });

  it('shows the version as an example in the form of a bug', () => {
    const form = released.files.get('.github/ISSUE_TEMPLATE/bug.yml');
    expect(form).toContain(`placeholder: v${version}\n`);
  });

  it('has the action that `npm run docs` would write', () => {
    const home = { repository, ref: `v${version}` };
    expect(released.files.get('action.yml')).toBe(renderPipelineYml(home));
  });

  it('has the workflow that `celeriac init` would write', () => {
    const written = workflowText(
      { host: 'vps.example.com', branch: 'main' },
      { repository, version },
    );
    expect(released.files.get('test/fixtures/init/celeriac.yml')).toBe(written);
  });

  it('changes the version in the lock, and nothing else there', () => {
    const lines = (text = ''): readonly string[] => text.split('\n');
    const before = lines(files.get('package-lock.json'));
    const after = lines(released.files.get('package-lock.json'));
    expect(after.filter((line, at) => line !== before[at])).toEqual([
      `  "version": "${version}",`,
      `      "version": "${version}",`,
    ]);
    expect(after).toHaveLength(before.length);
  });

  it('can be followed by the next one, in the same files', () => {
    const next = release(released.files, '99.0.1');
    expect(next.paths).toEqual(released.paths);
    expect(next.paths.length).toBeGreaterThan(20);
  });
});
