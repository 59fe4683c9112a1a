import { describe, expect, test } from 'vitest';
import { type OwnBeats, ownBeats, scheduleQuery } from '../../../src/celery/beat.ts';
import type { WorkerCall } from '../../../src/celery/worker-call.ts';
import type { BeatProcess, BeatUnit } from '../../../src/model/facts/beside.ts';
import type { BeatSchedule } from '../../../src/model/facts/broker.ts';
import { epochSeconds, seconds } from '../../../src/model/units.ts';
import { failedChecks, judge } from '../../../src/verify/checks.ts';
import type { VerifyEvidence } from '../../../src/verify/evidence.ts';
import {
  brokerFact,
  brokerSearch,
  consumes,
  desired,
  evidence,
  facts,
  now,
  unitFact,
  workerCall,
} from './facts.ts';

/* The broker, its queues, and beat. */

const check = (id: string, seen: VerifyEvidence) =>
  judge(seen, desired()).checks.find((each) => each.id === id);
const withBroker = (...looks: Parameters<typeof brokerSearch>) =>
  evidence({ broker: brokerSearch(...looks) });
const unknown = { kind: 'unknown', problem: 'the app does not import' } as const;

describe('the broker', () => {
  test('that is gone fails by itself, and nothing else turns red', () => {
    const problem = 'cannot reach the broker redis://127.0.0.1:6379/0: refused';
    const seen = withBroker({ kind: 'unreachable', problem, beat: null });
    expect(check('broker', seen)).toMatchObject({ verdict: 'fail', seen: problem });
    expect(failedChecks(judge(seen, desired()))).toEqual(['broker']);
    expect(check('active-queues', seen)?.verdict).toBe('unknown');
    expect(check('queue-lengths', seen)?.verdict).toBe('unknown');
  });

  test('that came back during the gate is fine', () => {
    const gone = { kind: 'unreachable', problem: 'refused', beat: null } as const;
    expect(check('broker', withBroker(gone, brokerFact()))?.verdict).toBe('pass');
  });

  test('of which nobody knows is unknown, whatever is asked', () => {
    const unasked = evidence({ broker: { kind: 'not-asked', why: 'no queues' } });
    for (const seen of [withBroker(unknown), unasked]) {
      for (const id of ['broker', 'active-queues', 'queue-lengths']) {
        expect(check(id, seen)?.verdict).toBe('unknown');
      }
    }
  });

  test('with a message that will be delivered twice', () => {
    const held = (oldest: number) =>
      withBroker(brokerFact({ unacked: 2, oldestUnackedSeconds: seconds(oldest) }));
    expect(check('broker', held(3500))).toMatchObject({
      verdict: 'pass',
      seen: 'redis answers, 2 messages unacknowledged, the oldest delivered to a worker 58 min ago',
    });
    expect(check('broker', held(3700))?.verdict).toBe('warn');
  });
});

describe('the consumed queues', () => {
  test('must be those of the unit', () => {
    const seen = withBroker(brokerFact({ worker: consumes('celery', 'batch', 'variations') }));
    expect(check('active-queues', seen)).toMatchObject({
      verdict: 'fail',
      seen: 'celery, batch, variations',
      expected: 'links, too',
    });
    expect(failedChecks(judge(seen, desired()))).toEqual(['active-queues']);
    expect(check('active-queues', withBroker(brokerFact({ worker: consumes() })))?.seen).toBe(
      'none',
    );
  });

  test('may be more, with a warning', () => {
    const worker = consumes('celery', 'batch', 'links', 'variations', 'other');
    expect(check('active-queues', withBroker(brokerFact({ worker })))).toMatchObject({
      verdict: 'warn',
      next: expect.stringContaining('add other to -Q'),
    });
  });

  test('are those of the app without -Q', () => {
    const seen = withBroker(brokerFact({ lengths: { celery: 0 }, worker: consumes('celery') }));
    const call = workerCall({ queues: 'default' });
    expect(check('active-queues', { ...seen, call })?.verdict).toBe('pass');
  });

  test('are without those that -X excludes', () => {
    const looked = brokerFact({ lengths: { celery: 0, slow: 3 }, worker: consumes('celery') });
    const excluding = (excludedQueues: WorkerCall['excludedQueues']) =>
      check('active-queues', {
        ...withBroker(looked),
        call: workerCall({ queues: 'default', excludedQueues }),
      })?.verdict;
    expect(excluding(['slow'])).toBe('pass');
    expect(excluding([])).toBe('fail');
    expect(excluding('unknown')).toBe('unknown');
  });

  test('that each process names by itself are not compared', () => {
    // The host leaves them out, and says the real name of `-Q alias`.
    const call = workerCall({ queues: ['celery', 'everyone', 'alias'] });
    const looked = brokerFact({
      lengths: { celery: 0, real: 0 },
      worker: consumes('celery', 'real'),
    });
    expect(check('active-queues', { ...withBroker(looked), call })?.verdict).toBe('pass');
    const none = brokerFact({ lengths: {}, worker: consumes() });
    expect(check('active-queues', { ...withBroker(none), call })?.verdict).toBe('unknown');
  });

  test('of a worker that does not answer are unknown', () => {
    const seen = withBroker(brokerFact({ worker: { kind: 'silent', why: 'it does not answer' } }));
    expect(check('active-queues', seen)).toMatchObject({
      verdict: 'unknown',
      seen: 'not known: it does not answer',
    });
  });
});

describe('the lengths of the queues', () => {
  const length = (celery: number) => brokerFact({ lengths: { celery, links: 0 } });

  test.each([
    ['empty', 0, 0, 'pass'],
    ['few', 0, 9, 'pass'],
    ['as many', 50, 50, 'pass'],
    ['fewer', 50, 40, 'pass'],
    ['more', 50, 51, 'warn'],
  ])('%s', (_, before, after, verdict) => {
    const seen = withBroker(length(before), length(after));
    expect(check('queue-lengths', seen)?.verdict).toBe(verdict);
  });

  test('name the queue that grows', () => {
    expect(check('queue-lengths', withBroker(length(2), length(40)))).toMatchObject({
      seen: 'celery: 2, then 40',
      expected: 'queues that do not grow within 30 s',
      evidence: ['celery: 2, then 40', 'links: 0'],
    });
    expect(check('queue-lengths', withBroker(unknown, length(40)))?.verdict).toBe('pass');
  });
});

const line = '/usr/bin/celery -A celery_app beat';
const beatUnit = (changes: Partial<BeatUnit> = {}): BeatUnit => ({
  unit: 'celery-beat.service',
  activeState: 'active',
  unitFileState: 'enabled',
  user: 'root',
  workingDirectory: '/srv/app',
  argv: line.split(' '),
  ...changes,
});
const beatProcess = (changes: Partial<BeatProcess> = {}): BeatProcess => ({
  pid: 500,
  unit: 'celery-beat.service',
  user: 'root',
  workingDirectory: '/srv/app',
  argv: line.split(' '),
  startTicks: 1,
  ...changes,
});

describe('which beats are of the app', () => {
  const own = {
    unit: 'celery-worker.service',
    user: 'root',
    controlGroup: '/system.slice/celery-worker.service',
    app: 'celery_app',
    workingDirectory: '/srv/app',
  };

  test('by user, directory and app', () => {
    const others = [
      { user: 'other' },
      { workingDirectory: '/srv/other' },
      { argv: '/usr/bin/celery -A other beat'.split(' ') },
      { argv: '/usr/bin/celery beat'.split(' ') },
    ];
    const fact = {
      units: [beatUnit(), beatUnit({ unit: own.unit }), ...others.map(beatUnit)],
      processes: [beatProcess(), ...others.map(beatProcess)],
    };
    expect(ownBeats(fact, own)).toEqual({ units: [beatUnit()], processes: [beatProcess()] });
  });

  test.each([
    'celery beat --app=celery_app',
    'celery beat -Acelery_app',
    'celery --app celery_app beat',
  ])('%s', (command) => {
    const workingDirectory = '/srv/app (deleted)';
    const processes = [beatProcess({ argv: command.split(' '), workingDirectory })];
    expect(ownBeats({ units: [], processes }, own).processes).toHaveLength(1);
  });

  test('their schedule is where their options say', () => {
    const argv = `${line} -s /run/s --scheduler=django`.split(' ');
    expect(scheduleQuery({ units: [], processes: [beatProcess({ argv })] })).toEqual({
      directory: '/srv/app',
      schedule: '/run/s',
      scheduler: 'django',
    });
    expect(scheduleQuery({ units: [], processes: [] })).toBeNull();
  });
});

describe('beat', () => {
  const schedule = (changes: Partial<BeatSchedule> = {}): BeatSchedule => ({
    where: '/srv/app/celerybeat-schedule',
    advanced: epochSeconds(now - 60),
    everySeconds: seconds(30),
    problem: null,
    ...changes,
  });
  const single: OwnBeats = { units: [beatUnit()], processes: [beatProcess()] };
  const running = (beats = single, beat: BeatSchedule | null = schedule()) =>
    evidence({ beats, broker: brokerSearch(brokerFact({ beat })) });

  test('is not judged where no unit runs it', () => {
    expect(check('beat', evidence())).toBeUndefined();
  });

  test('is alive, alone, and advances', () => {
    expect(check('beat', running())).toMatchObject({
      verdict: 'pass',
      seen: '1, pid 500 in celery-beat.service; /srv/app/celerybeat-schedule written 1 min ago',
    });
  });

  test.each([
    ['failed', 'disabled'],
    ['inactive', 'enabled'],
  ])('that is %s and %s fails, and nothing else', (activeState, unitFileState) => {
    const units = [beatUnit({ activeState, unitFileState })];
    const seen = running({ units, processes: [] });
    expect(check('beat', seen)?.seen).toContain(`celery-beat.service is ${activeState}`);
    expect(failedChecks(judge(seen, desired()))).toEqual(['beat']);
  });

  test('that somebody disabled and stopped is as wanted', () => {
    const units = [beatUnit({ activeState: 'inactive', unitFileState: 'disabled' })];
    expect(check('beat', running({ units, processes: [] }))).toMatchObject({
      verdict: 'pass',
      seen: 'none runs',
    });
  });

  test('that runs twice fails, with pids and units', () => {
    const processes = [beatProcess(), beatProcess({ pid: 900, unit: null })];
    const seen = running({ units: [beatUnit()], processes });
    expect(check('beat', seen)).toMatchObject({
      verdict: 'fail',
      seen: '2 beats: pid 500 in celery-beat.service, pid 900 in no unit',
    });
    expect(failedChecks(judge(seen, desired()))).toEqual(['beat']);
  });

  test('of the worker with -B needs its process', () => {
    const call = workerCall({ beat: true });
    const seen = { ...running({ units: [], processes: [] }), call };
    expect(check('beat', seen)).toMatchObject({ verdict: 'fail', seen: 'no process' });
    const before = facts({ unit: unitFact({ activeState: 'failed' }) });
    expect(check('beat', { ...seen, before })?.verdict).toBe('pass');
  });

  test.each([
    ['a schedule that stands still', { advanced: epochSeconds(now - 700) }, 'fail'],
    [
      'one with nothing due for longer',
      { advanced: epochSeconds(now - 700), everySeconds: seconds(600) },
      'pass',
    ],
    [
      'one that is due at times of the clock',
      { advanced: epochSeconds(now - 7000), everySeconds: null },
      'pass',
    ],
    ['one that cannot be read', { advanced: null, problem: 'no file' }, 'unknown'],
  ])('with %s', (_, changes, verdict) => {
    expect(check('beat', running(single, schedule(changes)))?.verdict).toBe(verdict);
  });

  test('whose broker cannot be asked is unknown', () => {
    const seen = { ...running(), broker: brokerSearch(unknown) };
    expect(check('beat', seen)?.verdict).toBe('unknown');
  });
});
