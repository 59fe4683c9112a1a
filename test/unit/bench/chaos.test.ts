import { describe, expect, test } from 'vitest';
import { judge, judgeRunning, type Tally, tally, type Whole } from '../../../bench/chaos/judge.ts';
import type { Seen } from '../../../bench/chaos/look.ts';
import { momentOf, timelineOf } from '../../../bench/chaos/moment.ts';
import { drawRound, FAULTS } from '../../../bench/chaos/random.ts';

const OLD: Whole = {
  name: '1',
  unitText: '[Service]\nMemoryMax=701M\n',
  support: 'aa',
  commit: 'c1',
  version: '1.0',
};
const NEW: Whole = { ...OLD, name: '2', unitText: '[Service]\nMemoryMax=702M\n', commit: 'c2' };

const BEFORE: Seen = {
  unitText: OLD.unitText,
  dropIns: {},
  support: 'aa',
  commit: 'c1',
  branch: 'main',
  dirty: '',
  versions: ['1.0'],
  show: {
    ActiveState: 'active',
    NeedDaemonReload: 'no',
    UnitFileState: 'enabled',
    MemoryMax: String(701 * 1024 * 1024),
  },
  children: 1,
  armed: false,
  sampled: true,
  locked: false,
  jobs: '',
  active: [],
  awaiting: [],
  transactions: { t1: '{"event": "ended", "at": 1, "result": "committed"}' },
  failed: '',
  processes: ['/usr/bin/redis-server'],
  files: ['/etc/passwd', '/srv/venv/.celeriac/k1', '/srv/venv/.celeriac/k1.failed'],
  queued: [],
  unacked: [],
};
const AFTER: Seen = {
  ...BEFORE,
  unitText: NEW.unitText,
  commit: 'c2',
  show: { ...BEFORE.show, MemoryMax: String(702 * 1024 * 1024) },
};
const NO_TASKS: Tally = { sent: 0, lost: [], cut: [], waiting: [], twiceEarly: [], twiceLate: [] };

const judged = (seen: Seen, tasks: Tally = NO_TASKS) =>
  judge('link-cut', BEFORE, seen, [OLD, NEW], tasks);

describe('a seed', () => {
  test('always plays the same round', () => {
    expect(drawRound(4711)).toEqual(drawRound(4711));
    expect(drawRound(4711)).not.toEqual(drawRound(4711 + FAULTS.length));
  });

  test('and the next ones cover all faults, both kinds of host, and the whole deploy', () => {
    const seeds = Array.from({ length: 40 * FAULTS.length }, (_, index) => 17 + index);
    const draws = seeds.map((seed) => drawRound(seed));
    expect(new Set(draws.slice(0, FAULTS.length).map(({ fault }) => fault))).toEqual(
      new Set(FAULTS),
    );
    expect(new Set(draws.map(({ start }) => start))).toEqual(new Set(['fresh', 'released']));
    const tenths = (key: 'part' | 'within' | 'lasts') =>
      new Set(draws.map((draw) => Math.floor(draw[key] * 10)));
    for (const key of ['part', 'within', 'lasts'] as const) {
      expect([...tenths(key)].sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
  });

  test('names a moment by the parts of a deploy in its journal', () => {
    const journal = [
      { event: 'started', at: 12, index: 0 },
      { event: 'done', at: 14, index: 0 },
      { event: 'already', at: 15, index: 1 },
    ];
    const times = { begun: 10, deployed: 18, verified: 22 };
    const timeline = timelineOf(['stop-unit', 'start-unit'], journal, times);
    expect(timeline).toEqual([
      { name: 'connect', index: null, seconds: 2 },
      { name: 'stop-unit', index: 0, seconds: 3 },
      { name: 'start-unit', index: 1, seconds: 0 },
      { name: 'leave', index: 1, seconds: 3 },
      { name: 'verify', index: null, seconds: 4 },
    ]);
    expect(momentOf(timeline, { part: 0.3, within: 0.5 })).toEqual({
      part: timeline[1],
      afterSeconds: 1.5,
    });
    expect(momentOf(timeline, { part: 0.999, within: 0 }).part.name).toBe('verify');
  });
});

describe('a host', () => {
  test('that completely matches one release passes', () => {
    expect(judged(BEFORE)).toEqual({ ending: '1', wrong: [] });
    expect(judged(AFTER)).toEqual({ ending: '2', wrong: [] });
  });

  test.each<readonly [string, Partial<Seen>, string]>([
    ['code of another release', { commit: 'c1' }, 'neither 1 (other: unit) nor 2 (other: commit)'],
    ['two versions', { versions: ['1.0', '2.0'] }, 'dependencies (1.0,2.0)'],
    ['another support module', { support: 'bb' }, 'support module'],
    ['a drop-in', { dropIns: { '/run/systemd/hold.conf': 'dd' } }, 'drop-ins: /run/'],
    ['a limit not in force', { show: BEFORE.show }, 'the effective MemoryMax is 735051776'],
    ['no worker', { show: { ...AFTER.show, ActiveState: 'failed' } }, 'the worker is failed'],
    ['a worker without a child', { children: 0 }, 'the worker has no child'],
    ['an unread unit file', { show: { ...AFTER.show, NeedDaemonReload: 'yes' } }, 'not loaded'],
    ['a guard that stays', { armed: true }, 'the guard is still armed'],
    ['a sampler that went', { sampled: false }, 'the release is not sampled'],
    ['a lock', { locked: true }, 'the lock is held'],
    ['a verdict awaited', { awaiting: ['/var/lib/celeriac/awaiting/x'] }, 'still awaits a verdict'],
    ['an open transaction', { transactions: { t2: '{"event": "done"}' } }, 't2 is open'],
    ['half an undo', { transactions: { t2: '"event": "ended" undo-failed' } }, 'not be undone'],
    ['a dirty tree', { dirty: ' M a.py' }, 'uncommitted changes:  M a.py'],
    ['a stray', { processes: [...BEFORE.processes, 'celery worker'] }, 'stray processes: celery'],
    ['a file', { files: [...BEFORE.files, '/etc/.x.celeriac-1'] }, 'left behind: /etc/.x'],
    ['one file less', { files: BEFORE.files.slice(1) }, 'missing: /etc/passwd'],
  ])('with %s fails', (_, more, told) => {
    const { wrong } = judged({ ...AFTER, ...more });
    expect(wrong.join('\n')).toContain(told);
    expect(wrong).toHaveLength(1);
  });

  test('may have what Celeriac keeps of all releases', () => {
    const kept = ['version', 'resets.json', 'backups/app-2f40f5-20261129T165316Z.db'].map(
      (name) => `/var/lib/celeriac/${name}`,
    );
    expect(judged({ ...AFTER, files: [...BEFORE.files, ...kept] }).wrong).toEqual([]);
    for (const name of ['version.new', 'backups/app.db-wal', 'backups/app']) {
      const left = `/var/lib/celeriac/${name}`;
      const { wrong } = judged({ ...AFTER, files: [...BEFORE.files, left] });
      expect(wrong).toEqual([`left behind: ${left}`]);
    }
  });

  test('with the old release must have no copy of the undone installation', () => {
    const files = [...BEFORE.files, '/srv/venv/.celeriac/k2', '/srv/venv/.celeriac/k2.failed'];
    expect(judged({ ...AFTER, files }).wrong).toEqual([]);
    expect(judged({ ...BEFORE, files }).wrong).toEqual(['a copy of the environment is left: k2']);
  });

  test('whose worker runs other code than the installed fails', () => {
    const note = { event: 'begun', number: 7, release: '1', version: '1.0' };
    expect(judgeRunning([note], OLD)).toEqual([]);
    expect(judgeRunning([note], NEW)).toEqual(['the running worker is release 1 with 1.0, not 2']);
    expect(judgeRunning([], OLD)).toEqual(['no task has begun']);
  });
});

describe('numbered tasks', () => {
  const id = (number: number): string =>
    `00000000-0000-0000-0000-${number.toString(16).padStart(12, '0')}`;
  const note = (event: string, number: number) => ({ event, number, release: '1', version: '1.0' });
  const notes = [
    ...[note('begun', 1), note('done', 1)],
    ...[note('begun', 2), note('begun', 2), note('done', 2)],
    ...[note('begun', 3), note('begun', 3), note('done', 3)],
    note('begun', 4),
  ];
  const seen = { ...BEFORE, queued: [id(26)], unacked: [id(5)] };
  const flow = { sent: 7, notes, known: new Set([0]), first: 2 };

  test('are counted as lost, interrupted or waiting', () => {
    expect(tally(flow, seen)).toEqual({
      sent: 5,
      lost: [6],
      cut: [4],
      waiting: [5],
      twiceEarly: [2],
      twiceLate: [3],
    });
  });

  test('count against the host, except losses that its fault makes unavoidable', () => {
    const tasks = tally(flow, seen);
    expect(judged(BEFORE, tasks).wrong).toEqual([
      'tasks lost: 6',
      'tasks begun and never ended: 4',
      'early-acknowledged tasks ran twice: 2',
    ]);
    expect(judge('power', BEFORE, BEFORE, [OLD, NEW], tasks).wrong).toEqual([]);
    const two = { ...tasks, lost: [6, 8] };
    expect(judge('power', BEFORE, BEFORE, [OLD, NEW], two).wrong).toEqual(['tasks lost: 6, 8']);
  });
});
