import { afterEach, beforeEach, expect, it } from 'vitest';
import { openGitCode } from '../../../../src/adapters/git-code.ts';
import type { ReleaseDesired } from '../../../../src/config/release-desired.ts';
import type { CheckoutTree } from '../../../../src/model/release.ts';
import { seconds } from '../../../../src/model/units.ts';
import { offerCode } from '../../../../src/use-case/offer-code.ts';
import { Repositories } from './repositories.ts';

let all: Repositories;
let deployed: string;

beforeEach(() => {
  all = new Repositories();
  deployed = all.commit(all.origin, 'first', { 'app.py': 'one\n', 'requirements.txt': 'celery\n' });
});
afterEach(() => all[Symbol.dispose]());

const desired: ReleaseDesired = {
  from: { source: 'git', checkout: '/srv/app', dirtyTree: 'refuse' },
  commit: null,
  dependencies: { file: 'requirements.txt', tool: 'pip', timeoutSeconds: seconds(60) },
};

/** What a run for a pull request has checked out: the merge that GitHub tries. */
function tryMerge(branch: string): { readonly clone: string; readonly commit: string } {
  const clone = all.clone('run');
  all.git(clone, 'checkout', '--quiet', '--detach', 'origin/main');
  const subject = `Merge ${branch} into main`;
  all.git(clone, 'merge', '--quiet', '--no-ff', '-m', subject, `origin/${branch}`);
  return { clone, commit: all.git(clone, 'rev-parse', 'HEAD') };
}

it('plans what the merge would deploy: the pull request and what main has since the host', async () => {
  all.git(all.origin, 'checkout', '--quiet', '-b', 'feature');
  all.commit(all.origin, 'of the pull request', { 'requirements.txt': 'celery\nredis\n' });
  all.git(all.origin, 'checkout', '--quiet', 'main');
  all.commit(all.origin, 'merged before', { 'app.py': 'two\n' });
  const { clone, commit } = tryMerge('feature');
  const tree: CheckoutTree = {
    kind: 'checkout',
    path: '/srv/app',
    user: 'shop',
    head: deployed,
    branch: 'main',
    known: [deployed],
    shallow: [],
    dirty: [],
    dirtyCount: 0,
  };
  const brought = await offerCode(openGitCode(clone), desired, { tree, installed: null }, commit);
  const offer = brought?.offer;
  expect(offer?.commit).toBe(commit);
  expect(offer?.log).toMatchObject({ direction: 'forward', count: 3 });
  expect(offer?.log?.subjects.map((line) => line.slice(8)).toSorted()).toEqual([
    'Merge feature into main',
    'merged before',
    'of the pull request',
  ]);
  // The lock file is that of the merge, and compared with that of the host's commit.
  expect(offer?.lock?.hash).not.toBe(offer?.lock?.previousHash);
});
