import {
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openGitCode } from '../../../../src/adapters/git-code.ts';
import { ConfigError } from '../../../../src/model/errors.ts';
import type { CheckoutTree, ReleaseFact } from '../../../../src/model/release.ts';
import type { Parcel } from '../../../../src/ports/code.ts';
import { Repositories } from './repositories.ts';

/** The app's user is that of the tests. */
const APP = { user: userInfo().username };

let all: Repositories;
let old: string;

beforeEach(() => {
  all = new Repositories();
  all.commit(all.origin, 'first', { 'app.py': 'one\n', '.gitignore': '*.db\n' });
  old = all.commit(all.origin, 'second', {
    'app.py': 'two\n',
    'gone.py': 'x\n',
    'a/deep.py': 'd\n',
  });
  all.clone('host');
});
afterEach(() => all[Symbol.dispose]());

const look = (): CheckoutTree => {
  const query = { ...APP, unit: 'x.service', source: 'git', checkout: all.host, deployTo: null };
  const { tree } = all.must('facts.release', 'look', query) as ReleaseFact;
  if (tree.kind !== 'checkout') throw new Error(JSON.stringify(tree));
  return tree;
};

async function bundle(clone: string, commit: string): Promise<Parcel> {
  const parcel = await openGitCode(clone).bundle(commit, look());
  if (parcel === null) throw new Error('the host lacks nothing');
  return parcel;
}

/** Bundles what the host lacks, stores it and takes it in. */
async function fetchCommit(commit: string, clone: string): Promise<void> {
  const parcel = await bundle(clone, commit);
  all.begin();
  all.store(parcel);
  const args = { ...APP, checkout: all.host, commit, sha256: parcel.sha256 };
  expect(all.must('operations.fetch_commit', 'check', args)).toBe(false);
  all.must('operations.fetch_commit', 'do', args);
  expect(all.must('operations.fetch_commit', 'check', args)).toBe(true);
  all.begin();
}

const asked = (commit: string, more: object = {}) => ({
  ...APP,
  checkout: all.host,
  commit,
  expects: old,
  stash: false,
  ...more,
});
const CHECKOUT = 'operations.checkout_code';

describe('a commit that the host lacks', () => {
  test('is sent as a bundle, and the branch moves to it and back', async () => {
    writeFileSync(join(all.host, 'jobs.db'), 'SQLite format 3\0');
    utimesSync(join(all.host, 'app.py'), 1000, 1000);
    const next = all.commit(all.origin, 'third', {
      'app.py': 'three\n',
      'gone.py': null,
      'a/deep.py': null,
      a: 'a file now\n',
      'new/more.py': 'n\n',
    });
    await fetchCommit(next, all.clone('run'));
    expect(all.must(CHECKOUT, 'check', asked(next))).toBe(false);
    const said = all.must(CHECKOUT, 'do', asked(next));
    expect(said).toBe(`${all.host} is at ${next.slice(0, 7)} on main, was at ${old.slice(0, 7)}`);
    expect(all.must(CHECKOUT, 'check', asked(next))).toBe(true);
    expect(look()).toMatchObject({ head: next, branch: 'main', dirty: [] });
    expect(all.read('a')).toBe('a file now\n');
    expect(existsSync(join(all.host, 'gone.py'))).toBe(false);
    expect(all.read('jobs.db')).toBe('SQLite format 3\0');
    for (const _ of ['once', 'twice']) {
      expect(all.must(CHECKOUT, 'undo', asked(next))).toContain(`at ${old.slice(0, 7)} again`);
      expect(look()).toMatchObject({ head: old, branch: 'main', dirty: [] });
      expect(all.read('a/deep.py')).toBe('d\n');
      expect(existsSync(join(all.host, 'new'))).toBe(false);
      expect(statSync(join(all.host, 'app.py')).mtimeMs).toBe(1_000_000);
      expect(all.read('jobs.db')).toBe('SQLite format 3\0');
    }
  });

  test('comes from a clone with one commit if the host has its parent', async () => {
    const next = all.commit(all.origin, 'third', { 'app.py': 'three\n' });
    await fetchCommit(next, all.clone('run', '--depth=1'));
    all.must(CHECKOUT, 'do', asked(next));
    expect(all.git(all.host, 'log', '--format=%s')).toBe('third\nsecond\nfirst');
    all.git(all.host, 'fsck', '--full', '--strict');
  });

  test('is refused if neither the clone nor the host has its parent', async () => {
    all.commit(all.origin, 'between', { 'app.py': 'between\n' });
    const next = all.commit(all.origin, 'third', { 'app.py': 'three\n' });
    const run = all.clone('run', '--depth=1');
    const refused = openGitCode(run).bundle(next, look());
    await expect(refused).rejects.toThrow(ConfigError);
    await expect(refused).rejects.toMatchObject({
      message: expect.stringContaining('the clone of this run is shallow'),
      expected: expect.stringContaining('fetch-depth: 0'),
    });
    // The whole clone does.
    await fetchCommit(next, all.clone('whole'));
  });

  test('reaches a host with a shallow history, also if it restores an old file', async () => {
    all.commit(all.origin, 'other', { 'app.py': 'other\n' });
    all.git(all.folder, 'clone', '-q', '--depth=1', `file://${all.origin}`, 'shallow');
    const base = all.git(join(all.folder, 'shallow'), 'rev-parse', 'HEAD');
    const next = all.commit(all.origin, 'back to one', { 'app.py': 'one\n' });
    const run = all.clone('run');
    Object.assign(all, { host: join(all.folder, 'shallow') });
    expect(look().shallow).toEqual([base]);
    await fetchCommit(next, run);
    all.must(CHECKOUT, 'do', asked(next, { expects: base }));
    expect(all.read('app.py')).toBe('one\n');
    all.git(all.host, 'fsck', '--full');
  });

  test('is refused for a checkout of another repository', async () => {
    const other = join(all.folder, 'other');
    mkdirSync(other);
    all.git(other, 'init', '-q');
    const commit = all.commit(other, 'of another repository', { 'x.py': 'x\n' });
    await expect(openGitCode(other).bundle(commit, look())).rejects.toThrow('no commit in common');
  });

  test('is sent only in part if the host has the rest', async () => {
    all.commit(all.origin, 'big', { 'big.bin': 'x'.repeat(100_000).concat(String(Math.PI)) });
    all.git(all.host, 'pull', '-q');
    const next = all.commit(all.origin, 'small', { 'app.py': 'three\n' });
    const { sizeBytes } = await bundle(all.clone('run'), next);
    expect(sizeBytes).toBeLessThan(1000);
  });

  test('needs no bundle if the host has it', async () => {
    const [first = ''] = all.git(all.origin, 'rev-list', '--reverse', 'HEAD').split('\n');
    const host = { known: [old], shallow: [] };
    expect(await openGitCode(all.clone('run')).bundle(first, host)).toBeNull();
    all.must(CHECKOUT, 'do', asked(first));
    expect(all.read('app.py')).toBe('one\n');
    all.must(CHECKOUT, 'undo', asked(first));
    expect(all.read('app.py')).toBe('two\n');
  });

  test('a damaged bundle, or one of another commit, changes nothing', async () => {
    const next = all.commit(all.origin, 'third', { 'app.py': 'three\n' });
    const parcel = await bundle(all.clone('run'), next);
    all.store(parcel);
    const args = { ...APP, checkout: all.host, commit: next, sha256: parcel.sha256 };
    const other = { ...args, commit: '1'.repeat(40) };
    expect(all.refusal('operations.fetch_commit', 'do', other)).toContain(
      'does not contain commit',
    );
    const file = join(all.folder, 'state-0/incoming', parcel.sha256);
    writeFileSync(file, readFileSync(file).subarray(0, 100));
    expect(all.refusal('operations.fetch_commit', 'do', args)).toContain('is damaged');
    expect(all.must('operations.fetch_commit', 'check', args)).toBe(false);
  });
});

describe('uncommitted changes on the host', () => {
  let next: string;
  beforeEach(async () => {
    next = all.commit(all.origin, 'third', { 'app.py': 'three\n', 'brought.py': 'b\n' });
    await fetchCommit(next, all.clone('run'));
  });

  test('are listed and refused if the plan did not see them', () => {
    writeFileSync(join(all.host, 'app.py'), 'mine\n');
    writeFileSync(join(all.host, 'untracked.py'), 'mine\n');
    expect(look()).toMatchObject({ dirty: ['app.py'], dirtyCount: 1 });
    expect(all.refusal(CHECKOUT, 'do', asked(next))).toContain(
      'that the plan did not see: app.py;',
    );
    expect(all.must(CHECKOUT, 'undo', asked(next))).toBeNull();
    expect(all.read('app.py')).toBe('mine\n');
  });

  test('are stashed, and restored by the undo', () => {
    writeFileSync(join(all.host, 'app.py'), 'mine\n');
    writeFileSync(join(all.host, 'gone.py'), 'staged\n');
    all.git(all.host, 'add', 'gone.py');
    const stash = asked(next, { stash: true });
    expect(all.must(CHECKOUT, 'do', stash)).toContain('app.py, gone.py stashed');
    expect(all.read('app.py')).toBe('three\n');
    expect(all.git(all.host, 'stash', 'list')).toContain('Celeriac: before');
    for (const _ of ['once', 'twice']) {
      all.must(CHECKOUT, 'undo', stash);
      expect(all.read('app.py')).toBe('mine\n');
      expect(all.git(all.host, 'status', '--short')).toBe('M app.py\nM  gone.py');
      expect(all.git(all.host, 'stash', 'list')).toBe('');
    }
  });

  test('in untracked or ignored files are not overwritten', () => {
    writeFileSync(join(all.host, 'brought.py'), 'mine\n');
    expect(all.refusal(CHECKOUT, 'do', asked(next))).toContain('brings brought.py, which exists');
    expect(all.read('brought.py')).toBe('mine\n');
    writeFileSync(join(all.host, '.git/info/exclude'), 'brought.py\n');
    expect(all.refusal(CHECKOUT, 'do', asked(next))).toContain('brings brought.py, which exists');
    expect(all.read('brought.py')).toBe('mine\n');
    expect(look().head).toBe(old);
  });

  test('a HEAD that has moved since the plan is refused', () => {
    all.git(all.host, 'commit', '-q', '--allow-empty', '-m', 'hot fix');
    expect(all.refusal(CHECKOUT, 'do', asked(next))).toContain('when the plan was made');
  });

  test('a lock of another git process is respected', () => {
    writeFileSync(join(all.host, '.git/index.lock'), '');
    expect(all.refusal(CHECKOUT, 'do', asked(next))).toContain('another git process is running');
    expect(existsSync(join(all.host, '.git/index.lock'))).toBe(true);
  });

  test('an undo keeps later manual changes', () => {
    all.must(CHECKOUT, 'do', asked(next));
    writeFileSync(join(all.host, 'app.py'), 'mine\n');
    expect(all.refusal(CHECKOUT, 'undo', asked(next))).toContain('app.py');
    expect(all.read('app.py')).toBe('mine\n');
    all.git(all.host, 'commit', '-q', '-a', '-m', 'hot fix');
    expect(all.refusal(CHECKOUT, 'undo', asked(next))).toContain('was moved to');
  });
});

test('a release is undone after a later one was', async () => {
  const next = all.commit(all.origin, 'next', { 'app.py': 'next\n' });
  await fetchCommit(next, all.clone('run'));
  all.must(CHECKOUT, 'do', asked(next));
  utimesSync(join(all.host, 'app.py'), 1000, 1000);
  const first = all.step;
  all.begin();
  const broken = all.commit(all.origin, 'broken', { 'app.py': 'broken\n' });
  await fetchCommit(broken, all.clone('again'));
  const ask = asked(broken, { expects: next });
  all.must(CHECKOUT, 'do', ask);
  // It restores the time of the file, of which Git's index then knows another.
  expect(all.must(CHECKOUT, 'undo', ask)).toContain(`at ${next.slice(0, 7)} again`);
  expect(all.drive(CHECKOUT, 'undo', asked(next), first).value).toContain(old.slice(0, 7));
  expect(look()).toMatchObject({ head: old, branch: 'main', dirty: [] });
});

test('hooks, fsmonitor and programs from the environment are not run', async () => {
  const trap = join(all.folder, 'trap');
  for (const name of [
    'post-checkout',
    'reference-transaction',
    'post-index-change',
    'pre-auto-gc',
  ]) {
    writeFileSync(join(all.host, '.git/hooks', name), `#!/bin/sh\ntouch ${trap}\n`, {
      mode: 0o755,
    });
  }
  writeFileSync(join(all.folder, 'monitor'), `#!/bin/sh\ntouch ${trap}\n`, { mode: 0o755 });
  all.git(all.host, 'config', 'core.fsmonitor', join(all.folder, 'monitor'));
  all.git(all.host, 'status');
  expect(existsSync(trap)).toBe(true);
  rmSync(trap);
  const next = all.commit(all.origin, 'third', { 'app.py': 'three\n' });
  await fetchCommit(next, all.clone('run'));
  all.must(CHECKOUT, 'do', asked(next));
  all.must(CHECKOUT, 'undo', asked(next));
  expect(existsSync(trap)).toBe(false);
});

test('a checkout that is killed half-way is undone', async () => {
  // A filter that never ends holds git at a file in the middle.
  all.git(all.host, 'config', 'filter.slow.smudge', 'sleep 600');
  const next = all.commit(all.origin, 'third', {
    '.gitattributes': 'm.slow filter=slow\n',
    'a/new.py': 'n\n',
    'app.py': 'three\n',
    'gone.py': null,
    'm.slow': 's\n',
    'z.py': 'z\n',
  });
  await fetchCommit(next, all.clone('run'));
  writeFileSync(join(all.host, 'a/deep.py'), 'mine\n');
  writeFileSync(join(all.host, 'jobs.db'), 'rows');
  const work = all.start(CHECKOUT, 'do', asked(next, { stash: true }));
  const isHalf = () =>
    existsSync(join(all.host, 'a/new.py')) && existsSync(join(all.host, '.git/index.lock'));
  // Git removes a file before it writes the new one.
  const isWritten = () => {
    try {
      return all.read('app.py') === 'three\n';
    } catch {
      return false;
    }
  };
  while (!isHalf() || !isWritten()) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  work.kill();
  expect(isHalf()).toBe(true);
  expect(existsSync(join(all.host, 'gone.py'))).toBe(false);
  for (const _ of ['once', 'twice']) {
    expect(all.must(CHECKOUT, 'undo', asked(next))).toContain(`at ${old.slice(0, 7)} again`);
    expect(look()).toMatchObject({ head: old, branch: 'main', dirty: ['a/deep.py'] });
    expect(all.git(all.host, 'status', '--short', '--ignored')).toBe('M a/deep.py\n!! jobs.db');
    expect(all.read('a/deep.py')).toBe('mine\n');
    expect(all.read('app.py')).toBe('two\n');
  }
  expect(existsSync(join(all.host, '.git/index.lock'))).toBe(false);
});

test('a detached HEAD moves to another detached HEAD', async () => {
  all.git(all.host, 'checkout', '-q', '--detach');
  const next = all.commit(all.origin, 'third', { 'app.py': 'three\n' });
  await fetchCommit(next, all.clone('run'));
  all.must(CHECKOUT, 'do', asked(next));
  expect(look()).toMatchObject({ head: next, branch: null });
  expect(all.git(all.host, 'rev-parse', 'main')).toBe(old);
  all.must(CHECKOUT, 'undo', asked(next));
  expect(look()).toMatchObject({ head: old, branch: null });
});

test.each([
  { how: 'overwrites', files: { 'jobs.db': 'SQLite format 3\0new' } },
  { how: 'deletes', files: { 'jobs.db': null } },
])('a tracked database that the commit $how is refused', async ({ files }) => {
  old = all.commit(all.origin, 'a mistake', { 'jobs.db': 'SQLite format 3\0' });
  all.git(all.host, 'pull', '-q');
  const next = all.commit(all.origin, 'third', files);
  await fetchCommit(next, all.clone('run'));
  expect(all.refusal(CHECKOUT, 'do', asked(next))).toContain('the database jobs.db');
  writeFileSync(join(all.host, 'jobs.db'), 'SQLite format 3\0rows');
  const stash = asked(next, { stash: true });
  expect(all.refusal(CHECKOUT, 'do', stash)).toContain('remove the database from Git');
  expect(all.read('jobs.db')).toBe('SQLite format 3\0rows');
});

test('the commits between two commits are listed', async () => {
  const next = all.commit(all.origin, 'third: mend it', { 'app.py': 'three\n' });
  const code = openGitCode(all.clone('run'));
  expect(await code.log(old, next)).toEqual({
    direction: 'forward',
    count: 1,
    subjects: [`${next.slice(0, 7)} third: mend it`],
  });
  expect(await code.log(next, old)).toMatchObject({ direction: 'back', count: 1 });
  expect(await code.log('1'.repeat(40), next)).toBeNull();
  const cut = openGitCode(all.clone('cut', '--depth=1'));
  expect(await cut.log(old, next)).toBeNull();
  await expect(code.require('1'.repeat(40))).rejects.toMatchObject({
    expected: expect.stringContaining('fetch-depth: 0'),
  });
  await expect(openGitCode(all.folder).require(next)).rejects.toThrow('there is no git repository');
});

test('the hash of a lock file covers its includes', async () => {
  const files = {
    'r.txt': '-r sub/base.txt\na\n',
    'sub/base.txt': '-c pins.txt\nb\n',
    'sub/pins.txt': 'b==1\n',
  };
  const first = all.commit(all.origin, 'lock', files);
  const second = all.commit(all.origin, 'code', { 'app.py': 'other\n' });
  const third = all.commit(all.origin, 'pins', { 'sub/pins.txt': 'b==2\n' });
  const code = openGitCode(all.clone('run'));
  const hash = (commit: string) => code.hashLock(commit, 'r.txt');
  expect(await hash(first)).toMatch(/^[0-9a-f]{64}$/);
  expect(await hash(second)).toBe(await hash(first));
  expect(await hash(third)).not.toBe(await hash(first));
  expect(await code.hashLock(first, 'none.txt')).toBeNull();
});
