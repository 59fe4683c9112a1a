import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';

const root = join(import.meta.dirname, '../..');
const workflow = parse(readFileSync(join(root, '.github/workflows/release.yml'), 'utf8')) as {
  readonly concurrency: { readonly group: string };
  readonly jobs: Readonly<
    Record<string, { readonly steps: readonly { name?: string; run?: string; if?: string }[] }>
  >;
};
const sha = 'a'.repeat(40);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'celeriac-release-'));
  mkdirSync(join(folder, 'release'));
  for (const name of ['notes.md', 'SHA256SUMS']) writeFileSync(join(folder, 'release', name), '');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const stepOf = (job: string, start: string) => {
  const found = workflow.jobs[job]?.steps.find(({ name }) => name?.startsWith(start));
  if (found === undefined) throw new Error(`no step ${start}`);
  return found;
};

/** Runs a step as a runner does. `gh` answers by the body of a `case` over its arguments. */
function run(job: string, start: string, tag: string, answers: string) {
  const script = join(folder, 'step.sh');
  const gh = `#!/bin/bash\necho "gh $*" >> '${folder}/asked'\ncase "$*" in\n${answers}\nesac\n`;
  writeFileSync(join(folder, 'gh'), gh, { mode: 0o755 });
  writeFileSync(join(folder, 'git'), '#!/bin/bash\n', { mode: 0o755 });
  writeFileSync(join(folder, 'asked'), '');
  writeFileSync(script, stepOf(job, start).run ?? '');
  const { status, stdout } = spawnSync('bash', ['-e', script], {
    cwd: folder,
    encoding: 'utf8',
    env: {
      PATH: `${folder}:${process.env.PATH}`,
      GITHUB_REF_NAME: tag,
      GITHUB_SHA: sha,
      GITHUB_REPOSITORY: 'owner/celeriac',
      GH_REPO: 'owner/celeriac',
    },
  });
  const asked = readFileSync(join(folder, 'asked'), 'utf8').trim().split('\n');
  return { status, stdout, asked };
}

it('lets no other release cancel one that waits', () => {
  expect(workflow.concurrency.group).toBe('release-${{ github.ref }}');
});

describe('the page', () => {
  it.each([
    ['is created', 'exit 1', true],
    ['is left alone, if an earlier attempt created it', 'echo false', false],
    ['is created beside a draft that nobody sees', 'echo true', true],
  ])('%s', (_, view, isCreated) => {
    const answers = `'release view '*) ${view} ;;`;
    const { status, asked } = run('publish', 'Create the release', 'v1.2.3', answers);
    expect(status).toBe(0);
    const created = asked.filter((line) => line.startsWith('gh release create v1.2.3 '));
    expect(created).toHaveLength(isCreated ? 1 : 0);
  });
});

describe('the moving tag', () => {
  const move = (tag: string, others: readonly string[], there = 'exit 0') => {
    const refs = [...others, tag].map((each) => `refs/tags/${each}`).join('\\n');
    const answers = `*matching-refs/tags/*) printf '${refs}\\n' ;;\n*/git/ref/tags/*) ${there} ;;`;
    return run('publish', 'Move the tag', tag, answers);
  };
  const changes = (asked: readonly string[]) => asked.filter((line) => line.includes('--method'));

  it.each([
    ['v1.10.0', ['v1.2.3', 'v1.9.9', 'v1.11.0-rc.1'], 'v1'],
    ['v0.9.0', [], 'v0'],
    ['v10.0.0', ['v10.0.0-rc.1'], 'v10'],
  ])('follows %s', (tag, others, moving) => {
    const { status, asked } = move(tag, others);
    expect(status).toBe(0);
    expect(asked[0]).toContain(`matching-refs/tags/${moving}. `);
    expect(changes(asked)).toEqual([
      `gh api --method PATCH repos/owner/celeriac/git/refs/tags/${moving} -f sha=${sha} -F force=true --silent`,
    ]);
  });

  it('is made by the first release', () => {
    const { asked } = move('v1.0.0', [], 'exit 1');
    expect(changes(asked)).toEqual([
      `gh api --method POST repos/owner/celeriac/git/refs -f ref=refs/tags/v1 -f sha=${sha} --silent`,
    ]);
  });

  it('never moves back, also when an old run is started again', () => {
    const { status, stdout, asked } = move('v1.2.4', ['v1.2.3', 'v1.10.0']);
    expect([status, changes(asked)]).toEqual([0, []]);
    expect(stdout).toContain('v1 stays where it is: v1.10.0');
  });

  it('stays, and the run fails, when the tags cannot be read', () => {
    const answers = '*matching-refs*) exit 1 ;;';
    const { status, asked } = run('publish', 'Move the tag', 'v1.0.0', answers);
    expect([status, changes(asked)]).toEqual([1, []]);
  });

  it('follows no release candidate', () => {
    const { if: condition } = stepOf('publish', 'Move the tag');
    expect(condition).toBe("${{ !contains(github.ref_name, '-rc.') }}");
  });
});

describe('the tag', () => {
  it.each([
    ['of this commit is accepted', sha, 'true', 0],
    ['that was moved since is refused', 'b'.repeat(40), 'true', 1],
    ['that nobody signed is refused', sha, 'false', 1],
  ])('%s', (_, commit, signed, code) => {
    const answers = [
      "*/git/ref/tags/*) echo '0123' ;;",
      `*/git/tags/0123*verified*) echo ${signed} ;;`,
      `*/git/tags/0123*.object.sha*) echo ${commit} ;;`,
    ].join('\n');
    const { status, stdout } = run('files', 'The tag is signed', 'v1.2.3', answers);
    expect(status).toBe(code);
    expect(stdout.includes('::error::')).toBe(code === 1);
  });
});
