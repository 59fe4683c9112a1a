import { describe, expect, it } from 'vitest';
import {
  type AppIdentity,
  describeSkipped,
  endStrays,
  findStrays,
  ownerOf,
} from '../../../src/celery/strays.ts';
import type { WorkerProcess } from '../../../src/model/facts/beside.ts';
import { bytes, epochSeconds, seconds } from '../../../src/model/units.ts';

const own: AppIdentity = {
  unit: 'celery-worker.service',
  user: 'root',
  controlGroup: '/system.slice/celery-worker.service',
  app: 'celery_app',
  workingDirectory: '/srv/app',
};
const session = '/user.slice/user-0.slice/session-3.scope';

function worker(pid: number, change: Partial<WorkerProcess> = {}): WorkerProcess {
  return {
    pid,
    parentPid: 1,
    state: 'S',
    user: 'root',
    residentBytes: bytes(1),
    argv: ['python3', '/usr/bin/celery', '-A', 'celery_app', 'worker'],
    startTicks: pid,
    cgroup: session,
    workingDirectory: '/srv/app',
    startedAt: epochSeconds(0),
    ...change,
  };
}

const pids = (workers: readonly WorkerProcess[]) => workers.map(({ pid }) => pid);

describe('the owner of a cgroup', () => {
  it.each([
    '/',
    '/init.scope',
    '/user.slice',
    '/user.slice/user-0.slice/session-3.scope',
    '/user.slice/user-0.slice/user@0.service/init.scope',
    '/user.slice/user-0.slice/user@0.service/tmux-spawn-1.scope',
    '/system.slice/ssh.service',
    '/system.slice/sshd.service',
    '/system.slice/system-ssh.slice/ssh@4-10.0.0.2:22-10.0.0.3:51234.service',
    '/system.slice/cron.service',
    '/system.slice/crond.service',
    '/system.slice/atd.service',
    '/system.slice/rc-local.service',
  ])('is unknown: %s', (cgroup) => {
    expect(ownerOf(cgroup)).toBeNull();
  });

  it.each([
    ['/system.slice/other.service', 'other.service'],
    ['/system.slice/other.service/payload', 'other.service'],
    ['/system.slice/system-celery.slice/celery@1.service', 'celery@1.service'],
    ['/apps.slice/other.service', 'other.service'],
    ['/user.slice/user-9.slice/user@9.service/app.slice/w.service', 'w.service of user@9.service'],
    ['/system.slice/docker-0123.scope', 'a container'],
    ['/docker/0123', 'a container'],
    ['/machine.slice/libpod-0123.scope', 'a container'],
    ['/lxc/web/user.slice/session-3.scope', 'a container'],
    ['/lxc.payload.web/system.slice/ssh.service', 'a container'],
    ['/kubepods.slice/kubepods-burstable.slice/cri-containerd-1.scope', 'a container'],
    ['/machine.slice/systemd-nspawn@web.service/payload', 'a container'],
  ])('of %s is %s', (cgroup, owner) => {
    expect(ownerOf(cgroup)).toContain(owner);
  });
});

describe('stray workers', () => {
  it('are workers of this app without a manager', () => {
    expect(pids(findStrays([worker(5), worker(6, { cgroup: '/' })], own).strays)).toEqual([5, 6]);
  });

  it("are not the unit's own, in its cgroup or below", () => {
    const inside = [
      worker(5, { cgroup: own.controlGroup }),
      worker(6, { cgroup: `${own.controlGroup}/x` }),
    ];
    expect(findStrays(inside, own)).toEqual({ strays: [], skipped: [] });
    const stopped = { ...own, controlGroup: '' };
    expect(findStrays(inside, stopped)).toEqual({ strays: [], skipped: [] });
  });

  it('are not those of a unit with the same prefix', () => {
    const found = findStrays([worker(5, { cgroup: `${own.controlGroup}2.service` })], own);
    expect(found.strays).toEqual([]);
    expect(found.skipped).toHaveLength(1);
  });

  it('are listed by main process, oldest first; a child without one is listed itself', () => {
    const tree = [worker(9), worker(20, { parentPid: 9 }), worker(7), worker(21, { parentPid: 7 })];
    const orphan = worker(30, { parentPid: 1 });
    expect(pids(findStrays([orphan, ...tree], own).strays)).toEqual([7, 9, 30]);
  });

  it('are not zombies', () => {
    expect(findStrays([worker(5, { state: 'Z', argv: [] })], own).strays).toEqual([]);
  });

  it.each<[string, Partial<WorkerProcess>]>([
    ['another app', { argv: ['celery', '-A', 'other', 'worker'] }],
    ['no app', { argv: ['celery', 'worker'] }],
    ['another directory', { workingDirectory: '/srv/staging' }],
    [
      'another directory by option',
      {
        workingDirectory: '/srv/x',
        argv: ['celery', '--workdir', '/srv/x', '-A', 'celery_app', 'worker'],
      },
    ],
    ['a title instead of arguments', { argv: ['[celeryd: celery@h:MainProcess] -active-'] }],
    ['no worker', { argv: ['celery', '-A', 'celery_app', 'beat'] }],
    ['another unit', { cgroup: '/system.slice/other.service' }],
    ['a cgroup that cannot be read', { cgroup: '' }],
  ])('are not: %s', (_about, change) => {
    const found = findStrays([worker(5, change)], own);
    expect(found.strays).toEqual([]);
    expect(pids(found.skipped.map(({ process }) => process))).toEqual([5]);
    const [finding] = describeSkipped(found);
    expect(finding?.message).toMatch(/^skipped Celery process 5: ./);
  });

  it.each<[string, Partial<WorkerProcess>]>([
    ['a directory that was replaced', { workingDirectory: '/srv/app (deleted)' }],
    ['a directory that can not be read', { workingDirectory: null }],
    ['another spelling', { argv: ['/v/bin/python', '-m', 'celery', '--app=celery_app', 'worker'] }],
  ])('are also: %s', (_about, change) => {
    expect(pids(findStrays([worker(5, change)], own).strays)).toEqual([5]);
  });

  it('are ended by pid and start, never by name, and together', () => {
    const app = {
      unit: 'w.service',
      interpreter: ['python3'],
      app: 'app',
      pythonPath: [],
      user: 'deploy',
    };
    expect(endStrays(app, [worker(5), worker(9, { cgroup: '/' })], seconds(60))).toEqual([
      {
        op: 'end-process',
        ...app,
        processes: [
          { pid: 5, startTicks: 5, cgroup: session },
          { pid: 9, startTicks: 9, cgroup: '/' },
        ],
        graceSeconds: 60,
        title: 'end 2 stray workers: 5, 9',
        why: expect.stringContaining(`(${session}, /)`),
      },
    ]);
    expect(endStrays(app, [worker(5)], seconds(60))[0]?.title).toBe('end the stray worker 5');
    expect(endStrays(app, [], seconds(60))).toEqual([]);
  });

  it('of another user are named and left, however much they look like a worker', () => {
    const found = findStrays([worker(5, { user: 'mallory' })], own);
    expect(found.strays).toEqual([]);
    expect(describeSkipped(found)).toEqual([
      {
        level: 'notice',
        message:
          'skipped Celery process 5: it runs as mallory, and celery-worker.service runs as root',
      },
    ]);
  });

  it('are bounded in number, and so are the words about them', () => {
    const many = Array.from({ length: 5000 }, (_, index) => worker(index + 10));
    const found = findStrays(many, own);
    const app = { unit: 'w', interpreter: ['python3'], app: 'app', pythonPath: [], user: 'root' };
    expect(endStrays(app, found.strays, seconds(60))[0]?.processes).toHaveLength(50);
    expect(describeSkipped(found)).toEqual([
      {
        level: 'notice',
        message: expect.stringMatching(
          /^skipped Celery processes 60, 61, .* and 4940 more: one deploy ends at most 50 stray workers/,
        ),
      },
    ]);
    const elsewhere = many.map((each) => ({ ...each, workingDirectory: `/tmp/${each.pid}` }));
    const told = describeSkipped(findStrays(elsewhere, own));
    expect(told).toHaveLength(11);
    expect(told.at(-1)?.message).toMatch(/ and 4980 more: for other reasons of this kind$/);
  });
});
