import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ReleaseDesired } from '../../../src/config/release-desired.ts';
import type {
  CheckoutTree,
  CodeOffer,
  CodeTree,
  InstalledDependencies,
  LockFile,
  ReleasesTree,
} from '../../../src/model/release.ts';
import { bytes, epochSeconds, seconds, sha256Text } from '../../../src/model/units.ts';
import { planRelease } from '../../../src/plan/code/release.ts';
import { type DeployWorkerFacts, deployWorkerQuery } from '../../../src/plan/deploy/look.ts';
import { planDeployWorker } from '../../../src/plan/deploy-worker.ts';
import { renderCommitLog } from '../../../src/report/commit-log.ts';
import { workerDesired } from '../../lib/worker-desired.ts';

const old = 'a'.repeat(40);
const next = 'b'.repeat(40);
const older = 'c'.repeat(40);
const label = { sha256: sha256Text('d'.repeat(64)), sizeBytes: bytes(2048) };

const context = {
  unit: 'celery-worker.service',
  user: 'app',
  workingDirectory: '/srv/app/current/backend',
  interpreter: ['/srv/app/current/.venv/bin/python3'],
};
const checkout: CheckoutTree = {
  kind: 'checkout',
  path: '/root/slideshow',
  user: 'root',
  head: old,
  branch: 'main',
  known: [old],
  shallow: [],
  dirty: [],
  dirtyCount: 0,
};
const releases: ReleasesTree = {
  kind: 'releases',
  path: '/srv/app',
  user: 'app',
  current: `releases/${old}`,
  releases: [old],
};
const offer: CodeOffer = {
  commit: next,
  parcel: label,
  log: { direction: 'forward', count: 2, subjects: ['bbbbbbb two', 'eeeeeee one'] },
  lock: null,
};
const git: ReleaseDesired = {
  from: { source: 'git', checkout: null, dirtyTree: 'refuse' },
  commit: null,
  dependencies: null,
};
const upload: ReleaseDesired = {
  ...git,
  from: { source: 'upload', deployTo: '/srv/app', shared: [], keepReleases: 2 },
};
const lock: LockFile = {
  file: 'requirements.txt',
  tool: 'pip',
  hash: 'new',
  previousHash: 'old',
  timeoutSeconds: seconds(600),
};
const installed: InstalledDependencies = {
  lock: 'new',
  file: 'requirements.txt',
  interpreter: context.interpreter,
  prefix: '/srv/app/shared/.venv',
  at: epochSeconds(0),
};

const plan = (
  tree: CodeTree,
  desired: ReleaseDesired | null,
  offered: CodeOffer | null = offer,
  record: InstalledDependencies | null = null,
) => planRelease({ tree, installed: record }, desired, offered, context);

const refusal = (tree: CodeTree, desired: ReleaseDesired) => {
  try {
    plan(tree, desired);
  } catch (error) {
    return error;
  }
  throw new Error('it was not refused');
};

describe('without a source', () => {
  it('the code is not touched', () => {
    const trial = { when: 'prepared', instead: null };
    const nothing = { reasons: [], prepare: [], inPlace: [], swap: [], trial };
    expect(plan({ kind: 'none' }, null, null)).toMatchObject(nothing);
    expect(planRelease(undefined, git, offer, context)).toMatchObject(nothing);
  });
});

describe('a checkout', () => {
  it('fetches the commit early, and checks it out late', () => {
    const { prepare, inPlace, swap, finish, trial, reasons } = plan(checkout, git);
    expect(prepare).toEqual([expect.objectContaining({ op: 'fetch-commit', ...sha(label) })]);
    expect(inPlace).toEqual([
      expect.objectContaining({
        op: 'checkout-code',
        expects: old,
        commit: next,
        title: 'check out bbbbbbb in /root/slideshow on main',
        why: 'aaaaaaa → bbbbbbb, 2 commits',
      }),
    ]);
    expect([...swap, ...finish]).toEqual([]);
    expect(trial).toEqual({ when: 'in-place' });
    expect(reasons).toEqual(['its code changes aaaaaaa → bbbbbbb, 2 commits']);
  });

  it('needs nothing sent if it has the commit', () => {
    const { prepare, inPlace } = plan({ ...checkout, branch: null }, git, {
      ...offer,
      parcel: null,
    });
    expect(prepare).toEqual([]);
    expect(inPlace[0]?.title).toBe('check out bbbbbbb in /root/slideshow');
  });

  it('at the commit is not touched, and uncommitted changes are reported', () => {
    const same = { ...checkout, head: next, dirty: ['web.py'], dirtyCount: 1 };
    const { reasons, satisfied, findings, trial } = plan(same, git, { ...offer, parcel: null });
    expect({ reasons, satisfied, trial }).toEqual({
      reasons: [],
      satisfied: ['code: /root/slideshow is at bbbbbbb'],
      trial: { when: 'prepared', instead: null },
    });
    expect(findings).toEqual([
      expect.objectContaining({ level: 'warning', message: expect.stringContaining('web.py') }),
    ]);
  });

  it('with uncommitted changes is refused, or stashed on request', () => {
    const dirty = { ...checkout, dirty: ['a', 'b', 'c', 'd', 'e', 'f'], dirtyCount: 9 };
    expect(refusal(dirty, git)).toMatchObject({
      where: 'input dirty-tree',
      message: '/root/slideshow has uncommitted changes: a, b, c, d, e and 4 more',
    });
    const stash = { ...git, from: { ...git.from, dirtyTree: 'stash' } } as ReleaseDesired;
    expect(plan(dirty, stash).inPlace).toMatchObject([{ stash: true }]);
    expect(plan(checkout, git).inPlace).toMatchObject([{ stash: false }]);
  });

  it('reports a commit that is not part of the new history', () => {
    const unknown = plan(checkout, git, { ...offer, log: null });
    expect(unknown.findings[0]?.message).toContain("is not in this run's clone");
    const aside = { direction: 'aside', count: 1, subjects: [] } as const;
    expect(plan(checkout, git, { ...offer, log: aside }).findings[0]?.message).toContain('reflog');
  });

  it.each([
    [{ kind: 'absent', path: '/opt/app' }, '/opt/app is not in a Git checkout'],
    [{ kind: 'absent', path: '' }, 'has no WorkingDirectory='],
    [{ kind: 'unusable', path: '/x', problem: 'git not found' }, 'git not found'],
  ] as const)('that is not one is refused: %j', (tree, message) => {
    expect(refusal(tree, git)).toMatchObject({
      where: 'input checkout',
      message: expect.stringContaining(message),
    });
  });
});

describe('code folders', () => {
  it('are unpacked and tried early, switched late, pruned at the end', () => {
    const tree = { ...releases, releases: [older, old] };
    const { prepare, inPlace, swap, finish, trial } = plan(tree, upload);
    expect(prepare).toMatchObject([{ op: 'unpack-release', deployTo: '/srv/app', commit: next }]);
    expect(inPlace).toEqual([]);
    expect(swap).toMatchObject([{ op: 'switch-release', expects: `releases/${old}` }]);
    expect(finish).toMatchObject([{ op: 'prune-releases', keep: 2, spare: [next, old] }]);
    const instead = { from: '/srv/app/current', to: `/srv/app/releases/${next}` };
    expect(trial).toEqual({ when: 'prepared', instead });
  });

  it('are pruned only beyond the limit; an existing one is not unpacked again', () => {
    const tree = { ...releases, releases: [old, next] };
    const { prepare, swap, finish } = plan(tree, upload, { ...offer, parcel: null });
    expect([prepare, finish]).toEqual([[], []]);
    expect(swap).toHaveLength(1);
  });

  it('at the commit are not touched, also with an absolute link', () => {
    const tree = { ...releases, current: `/srv/app/releases/${next}` };
    const { reasons, swap, satisfied } = plan(tree, upload, { ...offer, parcel: null });
    expect({ reasons, swap }).toEqual({ reasons: [], swap: [] });
    expect(satisfied).toEqual(['code: /srv/app/current is at bbbbbbb']);
  });

  it.each([
    [{ kind: 'absent', path: '/srv/app' }, 'folder /srv/app does not exist'],
    [{ kind: 'unusable', path: '/srv/app', problem: 'current is not a link' }, 'not a link'],
    [{ ...releases, path: '/srv/other' }, 'does not go through /srv/other/current'],
    [{ ...releases, path: '/srv/app/cur' }, 'does not go through'],
  ] as const)('that the worker would not see are refused: %j', (tree, message) => {
    expect(refusal(tree, upload)).toMatchObject({
      where: 'input deploy-to',
      message: expect.stringContaining(message),
    });
  });
});

describe('dependencies', () => {
  const withLock = (changes: Partial<LockFile> = {}, record: InstalledDependencies | null = null) =>
    plan(checkout, git, { ...offer, lock: { ...lock, ...changes } }, record);

  it('are installed if the lock file has changed, before anything else changes', () => {
    const { prepare, reasons } = withLock();
    expect(prepare.map(({ op }) => op)).toEqual(['fetch-commit', 'install-dependencies']);
    expect(prepare[1]).toMatchObject({
      lock: 'new',
      file: 'requirements.txt',
      checkout: '/root/slideshow',
      why: 'it changed with the code',
    });
    expect(reasons).toContain('requirements.txt changes');
  });

  it('are not touched if it has not', () => {
    for (const same of [withLock({ previousHash: 'new' }), withLock({}, installed)]) {
      expect(same.prepare.map(({ op }) => op)).toEqual(['fetch-commit']);
      expect(same.satisfied).toContain('dependencies: requirements.txt is unchanged');
    }
  });

  it('are installed again if another lock file was installed last', () => {
    const record = { ...installed, lock: 'third' };
    expect(withLock({ previousHash: 'new' }, record).prepare[1]).toMatchObject({
      why: 'it differs from the one that was installed last',
    });
    // What was recorded of another interpreter says nothing of this one.
    const other = { ...record, interpreter: ['/opt/venv/bin/python3'] };
    expect(withLock({ previousHash: 'new' }, other).prepare).toHaveLength(1);
    expect(withLock({ previousHash: null }, other).prepare[1]).toMatchObject({
      why: 'the installed one is unknown',
    });
  });

  it('alone are a reason to restart, and are tried before it', () => {
    const same = { ...checkout, head: next };
    const planned = plan(same, git, { ...offer, parcel: null, log: null, lock });
    expect(planned.reasons).toEqual(['requirements.txt changes']);
    expect(planned.trial).toEqual({ when: 'prepared', instead: null });
  });

  it('of a code folder are installed from it, with its future interpreter', () => {
    const { prepare } = plan(releases, upload, { ...offer, lock });
    expect(prepare[1]).toMatchObject({
      release: `/srv/app/releases/${next}`,
      interpreter: [`/srv/app/releases/${next}/.venv/bin/python3`],
    });
  });
});

describe('a deploy of code', () => {
  const fixtures = join(import.meta.dirname, 'fixtures/deploy-worker/hosts/healthy.json');
  const facts = JSON.parse(readFileSync(fixtures, 'utf8')) as DeployWorkerFacts;
  const desired = workerDesired({
    unit: 'celery-worker.service',
    supportModule: { name: 'celeriac_support', text: '# the support module\n' },
    release: git,
  });
  const withCode = (tree: CodeTree, offered: CodeOffer) =>
    planDeployWorker({ ...facts, release: { tree, installed: null } }, desired, offered);

  it('changes code that the old worker may still import right before the stop', () => {
    const order = withCode(checkout, { ...offer, lock }).operations.map(({ op }) => op);
    expect(order.filter((op) => op !== 'write-file')).toEqual([
      'guard-unit',
      'fetch-commit',
      'install-dependencies',
      'drain-worker',
      'checkout-code',
      'try-app',
      'stop-unit',
      'start-unit',
      'prove-unit',
      'find-unacked',
    ]);
  });

  it('of the current commit does nothing', () => {
    const there = withCode({ ...checkout, head: next }, { ...offer, parcel: null, log: null });
    const without = planDeployWorker(facts, { ...desired, release: null });
    expect(there.operations).toEqual(without.operations);
    expect(there.satisfied).toContain('code: /root/slideshow is at bbbbbbb');
  });
});

describe("the app's user", () => {
  const fixtures = join(import.meta.dirname, 'fixtures/deploy-worker/hosts/healthy.json');
  const facts = JSON.parse(readFileSync(fixtures, 'utf8')) as DeployWorkerFacts;
  const supportModule = { name: 'celeriac_support', text: '# the support module\n' };
  const runBy = (user: string) =>
    ({ ...facts.unit, user, properties: { ...facts.unit.properties, User: user } }) as const;
  const deploy = (unit: DeployWorkerFacts['unit'], appUser: string | null) =>
    planDeployWorker(
      { ...facts, unit, release: { tree: checkout, installed: null } },
      workerDesired({ unit: 'celery-worker.service', supportModule, release: git, appUser }),
      { ...offer, lock },
    );
  const users = ({ operations }: ReturnType<typeof deploy>) =>
    operations.flatMap((each) =>
      ['fetch-commit', 'checkout-code', 'install-dependencies'].includes(each.op) && 'user' in each
        ? [each.user]
        : [],
    );

  it('is that of the unit, or the one that the workflow names', () => {
    expect(users(deploy(runBy('app'), null))).toEqual(['app', 'app', 'app']);
    expect(users(deploy(runBy('app'), 'deploy'))).toEqual(['deploy', 'deploy', 'deploy']);
    expect(users(deploy(runBy('root'), null))).toEqual(['root', 'root', 'root']);
  });

  it('is in every operation on code folders', () => {
    const tree = { ...releases, releases: [older, old] };
    const { prepare, swap, finish } = plan(tree, upload);
    const operations = [...prepare, ...swap, ...finish];
    expect(operations.map((each) => 'user' in each && each.user)).toEqual(['app', 'app', 'app']);
  });

  it('reads the code, too', () => {
    const query = (appUser: string | null) =>
      deployWorkerQuery(workerDesired({ unit: 'w.service', supportModule, release: git, appUser }))
        .release.user;
    expect([query(null), query('deploy')]).toEqual([null, 'deploy']);
  });

  it('is reported once if it is root, or could become root', () => {
    const about = ({ findings }: ReturnType<typeof deploy>) =>
      findings.map(({ message }) => message).filter((each) => each.includes('runs as root'));
    expect(about(deploy(runBy('app'), null))).toEqual([]);
    expect(about(deploy(runBy('root'), null))).toEqual([
      'celery-worker.service runs as root: root works on its files',
    ]);
    expect(about(deploy(runBy('root'), 'deploy'))).toEqual([
      'celery-worker.service runs as root, and deploy owns its code, so deploy can become root: set User=deploy in the unit',
    ]);
  });

  it.each([
    [git, 'input checkout'],
    [upload, 'input deploy-to'],
  ])('must own the code', (desired, where) => {
    const problem = "/srv/app belongs to bob, and the app's user is app";
    const tree = { kind: 'not-own', path: '/srv/app', user: 'app', problem, fix: 'chown' } as const;
    expect(refusal(tree, desired)).toMatchObject({ where, message: problem, expected: 'chown' });
  });
});

describe('the commits in the report', () => {
  it('are listed up to a limit, on one line each', () => {
    const subjects = ['bbbbbbb two', 'eeeeeee one\n::error::no'];
    const log = { direction: 'forward', count: 30, subjects } as const;
    expect(renderCommitLog({ ...offer, log })).toEqual([
      {
        title: '30 commits of this deploy',
        text: 'bbbbbbb two\neeeeeee one ::error::no\nand 28 more',
      },
    ]);
    expect(renderCommitLog({ ...offer, log: null })).toEqual([]);
    expect(renderCommitLog(null)).toEqual([]);
  });
});

function sha({ sha256 }: typeof label): { readonly sha256: string } {
  return { sha256 };
}
