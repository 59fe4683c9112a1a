import { describe, expect, test } from 'vitest';
import type { VerifyDesired } from '../../../src/config/verify-desired.ts';
import type { UnitFact } from '../../../src/model/facts/unit.ts';
import type { DeliveryReport, JobReport } from '../../../src/model/outcome.ts';
import { epochSeconds, MiB, seconds } from '../../../src/model/units.ts';
import type { Check } from '../../../src/model/verdict.ts';
import { checkModules, gateError, judge } from '../../../src/verify/checks.ts';
import type {
  GateRequest,
  GateRun,
  VerifyEvidence,
  VerifyFacts,
} from '../../../src/verify/evidence.ts';
import { desired, evidence, facts, mib, now, process, unitFact, workerCall } from './facts.ts';

function check(id: string, seen: VerifyEvidence, wanted: VerifyDesired = desired()): Check {
  const found = judge(seen, wanted).checks.find((one) => one.id === id);
  if (found === undefined) throw new Error(`no check ${id}`);
  return found;
}

const withFacts = (changes: Partial<VerifyFacts>): VerifyEvidence =>
  evidence({ before: facts(changes) });
const withUnit = (changes: Partial<UnitFact>): VerifyEvidence =>
  withFacts({ unit: unitFact(changes) });
const withProperties = (changes: Record<string, string>): VerifyEvidence =>
  withUnit({ properties: { ...unitFact().properties, ...changes } });

describe('code', () => {
  const wanted = 'a'.repeat(40);
  const placed = (changes: object) =>
    withFacts({
      releases: {
        releases: [],
        awaiting: null,
        guarded: false,
        code: { path: '/opt/shop', wanted, actual: wanted, problem: '', ...changes },
      },
    });

  test('is as released', () => {
    expect(check('code', placed({}))).toMatchObject({
      verdict: 'pass',
      seen: '/opt/shop is as released',
    });
  });

  test.each([
    ['b'.repeat(40), '/opt/shop is at bbbbbbbbbbbb, not at aaaaaaaaaaaa of the release'],
    ['../elsewhere', '/opt/shop is at ../elsewhere, not at aaaaaaaaaaaa of the release'],
    ['', '/opt/shop is at no release, not at aaaaaaaaaaaa of the release'],
  ])('at %j is a warning', (actual, seen) => {
    expect(check('code', placed({ actual }))).toMatchObject({ verdict: 'warn', seen });
  });

  test('that cannot be read is unknown', () => {
    const unread = placed({ actual: null, problem: 'no such folder' });
    expect(check('code', unread)).toMatchObject({
      verdict: 'unknown',
      seen: 'which code /opt/shop has is not known: no such folder',
    });
  });
});

describe('a healthy host', () => {
  test('passes, check by check', () => {
    const verdict = judge(evidence(), desired());
    expect(verdict.conclusion).toBe('healthy');
    expect(verdict.checks.map(({ id, verdict, seen }) => [id, verdict, seen])).toEqual([
      ['unit', 'pass', 'active (running) for 16 min, reported ready (Type=notify)'],
      ['enabled', 'pass', 'enabled'],
      ['invocation', 'pass', 'run 3f2c9e1a since 2026-01-18 10:46:03 UTC'],
      ['settings', 'pass', '3 properties as in release 20261122T131500-4f2a'],
      ['limits', 'pass', 'MemoryMax 800 MiB; MemoryHigh 600 MiB'],
      ['supervision', 'pass', 'Restart=always; watchdog 5 min'],
      ['watchdog', 'pass', 'fed 20 s ago; its limit is 5 min'],
      ['processes', 'pass', '1 main, 1 child'],
      ['progress', 'pass', '2 processes, none stopped'],
      ['strays', 'pass', 'none'],
      ['consuming', 'pass', 'no message is left waiting'],
      ['broker', 'pass', 'redis answers, 0 messages unacknowledged'],
      ['active-queues', 'pass', 'celery, batch, links, variations'],
      ['queue-lengths', 'pass', 'empty'],
      ['swap', 'pass', '2 GiB at /swapfile, priority -2'],
      [
        'swap-boot',
        'pass',
        '/swapfile is in /etc/fstab; swappiness 10 (/etc/sysctl.d/99-zz-celeriac.conf:2)',
      ],
      [
        'memory',
        'pass',
        'unit: 212 MiB, peak 300 MiB; resident: main 70 MiB, 1 child 70 MiB; host: 444 MiB of 3.8 GiB used',
      ],
      ['memory-events', 'pass', 'high 0, max 0, oom 0, oom_kill 0 since the start'],
      ['oom', 'pass', 'none since the start'],
      ['kernel-oom', 'pass', 'none since the start of the unit'],
      ['pressure', 'pass', 'unit: memory 0 %; unit: I/O 0 %; host: memory 0 %; host: I/O 1.5 %'],
      ['disk', 'pass', '/ 16 % full, 41 GiB free'],
      ['clock', 'pass', "as the runner's, ± 0.4 s"],
      ['restarts', 'pass', 'none'],
      ['journal', 'pass', '120 lines since 2026-01-18 10:46:03 UTC'],
      ['rate-limits', 'pass', 'none in 120 lines since 2026-01-18 10:46:03 UTC'],
      ['errors', 'pass', 'none in 120 lines since 2026-01-18 10:46:03 UTC'],
      ['stuck-jobs', 'pass', 'none older than 30 min'],
      ['gate', 'unknown', 'the gate is `none`: no probe was sent'],
    ]);
    expect(gateError(verdict)).toBeNull();
  });

  test('passes with all requirements set', () => {
    const wanted = desired({
      swapBytes: mib(2048),
      concurrency: 1,
      memoryMaxBytes: mib(800),
      memoryHighBytes: mib(600),
    });
    expect(judge(evidence(), wanted).checks.filter(({ verdict }) => verdict !== 'pass')).toEqual([
      expect.objectContaining({ id: 'gate', verdict: 'unknown' }),
    ]);
  });
});

describe('the unit', () => {
  test('that crashes is shown with the end of its journal', () => {
    const tail = Array.from({ length: 30 }, (_, index) => `line ${index}`);
    const seen = evidence({
      before: facts({
        unit: unitFact({
          activeState: 'activating',
          subState: 'auto-restart',
          properties: { ...unitFact().properties, Result: 'exit-code' },
        }),
        journal: { since: null, entries: 30, suspects: [], tail, ends: [], endedRuns: [] },
      }),
    });
    expect(check('unit', seen)).toMatchObject({
      verdict: 'fail',
      seen: 'activating (auto-restart), result exit-code',
      expected: 'active (running)',
      evidence: tail.slice(-15),
    });
  });

  test.each([
    ['failed', 'failed'],
    ['inactive', 'dead'],
    ['active', 'exited'],
    ['activating', 'start'],
    ['deactivating', 'stop-sigterm'],
  ])('%s (%s) fails', (activeState, subState) => {
    expect(check('unit', withUnit({ activeState, subState })).verdict).toBe('fail');
  });

  test('with a changed file is a warning', () => {
    expect(check('unit', withUnit({ needDaemonReload: true })).verdict).toBe('warn');
  });
});

describe('the limits', () => {
  test('fail if they differ from the required ones', () => {
    const wanted = desired({ memoryMaxBytes: mib(800), memoryHighBytes: mib(600) });
    const seen = withProperties({ MemoryMax: 'infinity', MemoryHigh: String(400 * MiB) });
    expect(check('limits', seen, wanted)).toMatchObject({
      verdict: 'fail',
      seen: 'no MemoryMax; MemoryHigh 400 MiB',
      expected: 'MemoryMax 800 MiB; MemoryHigh 600 MiB',
      next: 'deploy again',
    });
  });

  test('that look alike are shown in bytes', () => {
    const seen = withProperties({ MemoryMax: String(800 * MiB + 4096) });
    expect(check('limits', seen, desired({ memoryMaxBytes: mib(800) }))).toMatchObject({
      verdict: 'fail',
      seen: 'MemoryMax 838864896 bytes; MemoryHigh 600 MiB',
      expected: 'MemoryMax 838860800 bytes',
    });
  });

  test('are missing: a warning if none is required', () => {
    const unit = unitFact({
      properties: { ...unitFact().properties, MemoryMax: 'infinity', MemoryHigh: 'infinity' },
    });
    expect(check('limits', withFacts({ unit, settings: null }))).toMatchObject({
      verdict: 'warn',
      seen: 'no MemoryMax; no MemoryHigh',
    });
  });

  test('MemoryHigh without swap is a warning', () => {
    const { host } = facts();
    const seen = withFacts({
      host: { ...host, memory: { ...host.memory, swapTotalBytes: mib(0) } },
    });
    expect(check('limits', seen)).toMatchObject({
      verdict: 'warn',
      seen: expect.stringContaining('the host has no swap'),
    });
  });
});

describe('restart and watchdog', () => {
  test('a watchdog that even a healthy worker cannot satisfy fails', () => {
    expect(check('supervision', withProperties({ Type: 'simple' }))).toMatchObject({
      verdict: 'fail',
      seen: 'Restart=always; watchdog 5 min with Type=simple',
    });
  });

  test.each(['0', 'infinity'])('WatchdogUSec=%s is a warning', (WatchdogUSec) => {
    expect(check('supervision', withProperties({ WatchdogUSec })).verdict).toBe('warn');
  });

  test('Restart=no is a warning', () => {
    expect(check('supervision', withProperties({ Restart: 'no' })).verdict).toBe('warn');
  });

  test('restarts beyond the limit fail, with the journal', () => {
    const before = facts({
      unit: unitFact({ properties: { ...unitFact().properties, NRestarts: '3' } }),
      journal: {
        since: null,
        entries: 1,
        suspects: [],
        tail: ['it died'],
        ends: [],
        endedRuns: [],
      },
    });
    expect(check('restarts', evidence({ before }))).toMatchObject({
      verdict: 'fail',
      seen: '3 restarts',
      expected: 'none',
      evidence: ['it died'],
    });
    const ends = ['celery-worker.service: Watchdog timeout (limit 10s)!'];
    const named = { ...before, journal: { ...before.journal, ends } };
    // The new run's own lines say nothing about the end of the one before.
    expect(check('restarts', evidence({ before: named })).evidence).toEqual([
      'systemd said:',
      ...ends,
    ]);
    expect(check('restarts', evidence({ before }), desired({ maxRestarts: 2 }))).toMatchObject({
      verdict: 'fail',
      expected: 'at most 2',
    });
    expect(check('restarts', evidence({ before }), desired({ maxRestarts: 3 })).verdict).toBe(
      'pass',
    );
  });

  test('skipped if systemd does not report NRestarts', () => {
    expect(check('restarts', withProperties({ NRestarts: '' })).verdict).toBe('unknown');
  });
});

describe('the processes', () => {
  const children = (count: number) =>
    withUnit({
      processes: [
        process(100, 1),
        ...Array.from({ length: count }, (_, i) => process(101 + i, 100)),
      ],
    });

  test('too many or too few children fail, and are listed', () => {
    expect(check('processes', children(5))).toMatchObject({
      verdict: 'fail',
      seen: '1 main, 5 children',
      expected: '1 main, 1 child',
    });
    expect(check('processes', children(5)).evidence).toHaveLength(6);
    expect(check('processes', children(5)).evidence[1]).toMatch(
      /^pid 101 of 100, S, root, 70 MiB: \/usr\/bin\/python3 \/usr\/bin\/celery /,
    );
    expect(check('processes', children(0))).toMatchObject({
      verdict: 'fail',
      seen: '1 main, 0 children',
    });
  });

  test('the input takes precedence over the command line', () => {
    expect(check('processes', children(5), desired({ concurrency: 5 })).verdict).toBe('pass');
    expect(check('processes', children(1), desired({ concurrency: 5 })).verdict).toBe('fail');
  });

  test.each([
    [{ children: { min: 2, max: 4 } }, 3, 'pass'],
    [{ children: { min: 2, max: 4 } }, 5, 'fail'],
    [{ beat: true }, 2, 'pass'],
    [{ beat: true }, 1, 'fail'],
    [{ forks: false, children: { min: 0, max: 0 } }, 0, 'pass'],
    [{ children: null }, 7, 'pass'],
    [{ children: null }, 0, 'fail'],
  ] as const)('%j with %d children: %s', (changes, count, state) => {
    const seen = { ...children(count), call: workerCall(changes) };
    expect(check('processes', seen).verdict).toBe(state);
  });

  test('the processes of a task are not children of the pool', () => {
    const processes = [process(100, 1), process(101, 100), process(200, 101), process(201, 200)];
    expect(check('processes', withUnit({ processes })).verdict).toBe('pass');
  });

  test('no main process fails', () => {
    expect(check('processes', withUnit({ mainPid: null, processes: [] })).seen).toBe(
      'no main, 0 children',
    );
  });

  test('a zombie is a warning and does not count as a child', () => {
    const processes = [process(100, 1), process(101, 100), process(102, 100, { state: 'Z' })];
    expect(check('processes', withUnit({ processes }))).toMatchObject({
      verdict: 'warn',
      seen: '1 main, 1 child; 1 zombie',
    });
  });

  test('stray workers fail, and are listed', () => {
    const stray = {
      pid: 4711,
      cgroup: '/user.slice/user-0.slice/session-3.scope',
      argv: ['celery', '-A', 'celery_app', 'worker'],
      startedAt: epochSeconds(now - 2 * 86_400),
    };
    expect(check('strays', evidence({ strays: [stray, stray, stray] }))).toMatchObject({
      verdict: 'fail',
      seen: '3 workers',
      expected: 'none',
      evidence: expect.arrayContaining([
        'pid 4711, running for 2 d in /user.slice/user-0.slice/session-3.scope: celery -A celery_app worker',
      ]),
    });
  });
});

describe('memory', () => {
  const { swap, host, unit } = facts();
  const none = { ...swap, active: [] };

  test('swap: too small or absent', () => {
    const small = {
      ...swap,
      active: swap.active.map((area) => ({ ...area, sizeBytes: mib(512) })),
    };
    const wanted = desired({ swapBytes: mib(2048) });
    expect(check('swap', withFacts({ swap: small }), wanted)).toMatchObject({
      verdict: 'fail',
      seen: '512 MiB at /swapfile, priority -2',
      expected: '2 GiB',
    });
    expect(check('swap', withFacts({ swap: none }), wanted).verdict).toBe('fail');
    expect(check('swap', withFacts({ swap: none })).verdict).toBe('warn');
  });

  test('swap: several areas count together; a container can have none', () => {
    const area = { ...swap.active[0], sizeBytes: mib(1024) } as (typeof swap.active)[number];
    const two = { ...swap, active: [area, { ...area, path: '/dev/vdb' }] };
    expect(check('swap', withFacts({ swap: two }), desired({ swapBytes: mib(2048) })).verdict).toBe(
      'pass',
    );
    const lxc = withFacts({ swap: none, host: { ...host, container: 'lxc' } });
    expect(check('swap', lxc, desired({ swapBytes: mib(2048) }))).toMatchObject({
      verdict: 'unknown',
      seen: expect.stringContaining('container (lxc)'),
    });
  });

  test('before, peak and after', () => {
    const after = facts({
      unit: unitFact({
        memory: { currentBytes: mib(240), peakBytes: mib(310), events: { high: 0, oom_kill: 0 } },
      }),
      host: { ...host, memory: { ...host.memory, availableBytes: mib(3400) } },
    });
    expect(check('memory', evidence({ after }))).toMatchObject({
      verdict: 'pass',
      seen: 'unit: 212 MiB before, 240 MiB after, peak 310 MiB; resident: main 70 MiB, 1 child 70 MiB; host: 444 MiB before, 491 MiB after of 3.8 GiB used',
    });
  });

  test('a peak at the limit, throttling and a full host are warnings', () => {
    const memory = {
      currentBytes: mib(700),
      peakBytes: mib(790),
      events: { high: 12, oom_kill: 0 },
    };
    const seen = withFacts({
      unit: unitFact({ memory }),
      host: { ...host, memory: { ...host.memory, availableBytes: mib(50) } },
    });
    const found = check('memory', seen);
    expect(found.verdict).toBe('warn');
    expect(found.seen).toContain('throttled at MemoryHigh 12 times since the start');
    expect(found.expected).toContain('a peak well below MemoryMax 800 MiB');
    expect(found.expected).toContain('available memory on the host');
  });

  test('after probes, only throttling during the gate counts', () => {
    const memory = (high: number) => ({
      currentBytes: mib(1),
      peakBytes: mib(1),
      events: { high, oom_kill: 0 },
    });
    const before = facts({ unit: unitFact({ memory: memory(5) }) });
    const after = (high: number) => facts({ unit: unitFact({ memory: memory(high) }) });
    expect(check('memory', evidence({ before, after: after(5) })).verdict).toBe('pass');
    expect(check('memory', evidence({ before, after: after(6) })).seen).toContain(
      'throttled at MemoryHigh 1 time during the gate',
    );
  });

  test('a kill in the cgroup fails, also one during the gate', () => {
    const memory = { ...unit.memory, events: { oom: 2, oom_kill: 1 } } as UnitFact['memory'];
    const after = facts({ unit: unitFact({ memory }) });
    expect(check('oom', evidence({ after }))).toMatchObject({
      verdict: 'fail',
      seen: '1 process killed',
      evidence: ['memory.events: oom 2, oom_kill 1'],
    });
    expect(check('oom', withUnit({ memory: null })).verdict).toBe('unknown');
  });

  test('kills by the kernel are counted once each', () => {
    const line = (message: string) => ({ at: epochSeconds(now - 60), message });
    const outOfMemory = [
      line('celery invoked oom-killer: gfp_mask=0x0, order=0'),
      line('oom-kill:constraint=CONSTRAINT_MEMCG,task=celery,pid=101'),
      line('Memory cgroup out of memory: Killed process 101 (celery) total-vm:1kB'),
      line('Out of memory: Killed process 200 (python3)'),
    ];
    const kernel = { since: epochSeconds(now), outOfMemory, readable: true };
    expect(check('kernel-oom', withFacts({ kernel }))).toMatchObject({
      verdict: 'fail',
      seen: '2 kills since the start of the unit',
    });
    expect(check('kernel-oom', withFacts({ kernel })).evidence[3]).toBe(
      '2026-01-18 11:01:03 UTC Out of memory: Killed process 200 (python3)',
    );
    const unread = { ...kernel, outOfMemory: [], readable: false };
    expect(check('kernel-oom', withFacts({ kernel: unread })).verdict).toBe('unknown');
  });
});

describe('HTTP probes', () => {
  const url = 'http://localhost/api/health';
  const probes = [{ url, timeoutSeconds: seconds(10) }];
  const about = { url, seconds: seconds(0.05) };
  const answer = (status: number, body = '') =>
    withFacts({ http: [{ ...about, kind: 'answered', status, body }] });

  test.each([
    [200, 'pass'],
    [204, 'pass'],
    [301, 'fail'],
    [404, 'fail'],
    [500, 'fail'],
  ] as const)('%d: %s', (status, state) => {
    expect(check('http', answer(status), desired({ probes })).verdict).toBe(state);
  });

  test('503 shows the response', () => {
    expect(
      check('http', answer(503, '{"status":\n\n"degraded"}\n'), desired({ probes })),
    ).toMatchObject({
      title: `GET ${url}`,
      verdict: 'fail',
      seen: '503 in 50 ms: degraded',
      evidence: ['{"status":', '"degraded"}'],
    });
  });

  test('no answer gives the reason', () => {
    const seen = withFacts({ http: [{ ...about, kind: 'failed', error: 'connection refused' }] });
    expect(check('http', seen, desired({ probes })).seen).toBe('no answer: connection refused');
    expect(check('http', withFacts({ http: [] }), desired({ probes })).verdict).toBe('fail');
  });
});

describe('stuck jobs', () => {
  test('rows are named by table, age and id', () => {
    const rows = [
      {
        table: 'jobs',
        count: 2,
        inherited: 0,
        oldestAgeSeconds: seconds(7200),
        sampleIds: ['77cfa3cd', 'b49d06f6'],
      },
      {
        table: 'batch_links',
        count: 12,
        inherited: 0,
        oldestAgeSeconds: seconds(3600),
        sampleIds: ['a'],
      },
      {
        table: 'video_jobs',
        count: 0,
        inherited: 0,
        oldestAgeSeconds: seconds(0),
        sampleIds: [],
      },
    ];
    expect(check('stuck-jobs', evidence({ stuck: { kind: 'read', rows } }))).toMatchObject({
      verdict: 'fail',
      seen: '14 rows in jobs, batch_links',
      expected: 'none older than 30 min',
      evidence: [
        'jobs: 2 rows, oldest 2 h: 77cfa3cd, b49d06f6',
        'batch_links: 12 rows, oldest 1 h: a, …',
      ],
      next: 'run cleanup, first with dry-run',
    });
  });

  test.each<[count: number, inherited: number, verdict: string, seen: string]>([
    [1, 1, 'warn', '1 row in jobs, stuck since before this release'],
    [3, 3, 'warn', '3 rows in jobs, all stuck since before this release'],
    [3, 2, 'fail', '3 rows in jobs, 2 of them stuck since before this release'],
    [3, 0, 'fail', '3 rows in jobs'],
  ])('%i rows, %i of them older than the release: %s', (count, inherited, verdict, seen) => {
    const row = { table: 'jobs', oldestAgeSeconds: seconds(7200), sampleIds: ['a'] };
    const stuck = { kind: 'read', rows: [{ ...row, count, inherited }] } as const;
    expect(check('stuck-jobs', evidence({ stuck }))).toMatchObject({ verdict, seen });
  });

  test('not read is unknown, not passed', () => {
    const stuck = { kind: 'not-read', why: 'there is no database' } as const;
    expect(check('stuck-jobs', evidence({ stuck }))).toMatchObject({
      verdict: 'unknown',
      seen: 'not read: there is no database',
    });
  });
});

describe('the gate', () => {
  const request = (id: GateRequest['id'], queues: readonly string[]): GateRequest => ({
    id,
    title: `${queues.length} to ${queues.join(', ')}`,
    request: {
      kind: 'canary',
      unit: 'celery-worker.service',
      interpreter: ['/usr/bin/python3'],
      app: 'celery_app',
      pythonPath: [],
      queues,
      timeoutSeconds: seconds(120),
    },
  });
  const job = (where: string, state: 'done' | 'failed' | 'timed-out', detail = '') => ({
    id: `id-${where}`,
    where,
    state,
    detail,
    seconds: seconds(0.4),
  });
  const single = request('gate-job', ['celery']);
  const batch = request('gate-batch', ['batch', 'links', 'variations']);
  const report = (request: GateRequest, report: JobReport): GateRun => ({
    request,
    result: { kind: 'report', report },
  });
  const sent = (...runs: GateRun[]) => evidence({ after: facts(), gate: { kind: 'sent', runs } });

  test('passes, with every probe as evidence', () => {
    const seen = sent(report(single, { ok: true, jobs: [job('celery', 'done')], problem: null }));
    expect(check('gate-job', seen)).toEqual({
      id: 'gate-job',
      title: 'gate: single probe',
      verdict: 'pass',
      seen: '1 to celery: done in 0.4 s',
      expected: '',
      evidence: ['celery: done in 0.4 s (id-celery)'],
      next: '',
    });
  });

  const told = (
    delivery: Partial<DeliveryReport>,
    stop = '16min',
  ): { readonly verdict: string; readonly seen: string; readonly expected: string } => {
    const unit = unitFact({ properties: { ...unitFact().properties, TimeoutStopUSec: stop } });
    const known = { transport: 'redis', seconds: null, where: 'the default', problem: null };
    const jobs = [job('celery', 'done')];
    const run = report(single, {
      ok: true,
      jobs,
      problem: null,
      delivery: { ...known, ...delivery },
    });
    const seen = evidence({ after: facts({ unit }), gate: { kind: 'sent', runs: [run] } });
    return check('visibility-timeout', seen);
  };

  test('tells the visibility timeout of the app, compared with the longest task', () => {
    expect(told({ seconds: seconds(3600) })).toMatchObject({ verdict: 'pass' });
    expect(told({ seconds: seconds(900) })).toMatchObject({ verdict: 'pass' });
    expect(told({ seconds: seconds(899) })).toMatchObject({
      verdict: 'warn',
      seen: '14 min (the default)',
      expected: 'at least 15 min, for which a stop waits',
    });
    expect(told({ seconds: seconds(60) }, 'infinity')).toMatchObject({ verdict: 'pass' });
    expect(told({ transport: 'amqp' }).seen).toBe('none: the broker is amqp');
    expect(told({ problem: 'it is a secret' })).toMatchObject({
      verdict: 'unknown',
      seen: 'unknown: it is a secret',
    });
  });

  test('a probe that does not return fails', () => {
    const jobs = [job('batch', 'done'), job('links', 'timed-out'), job('variations', 'done')];
    const seen = sent(report(batch, { ok: false, jobs, problem: null }));
    const found = check('gate-batch', seen);
    expect(found).toMatchObject({
      verdict: 'fail',
      seen: '2 of 3 probes done',
      expected: '3 to batch, links, variations, done within 2 min',
    });
    expect(found.evidence[1]).toBe('links: timed-out in 0.4 s (id-links)');
    expect(found.next).toContain('support module');
  });

  test('a probe that does not return is told where it stands, with the end of the journal', () => {
    const jobs = [
      { ...job('batch', 'done'), place: 'done' as const },
      { ...job('links', 'timed-out'), place: 'queued' as const },
      { ...job('variations', 'timed-out'), place: 'unknown' as const },
    ];
    const run = report(batch, { ok: false, jobs, problem: 'no worker answered' });
    const tail = Array.from({ length: 20 }, (_, index) => `line ${index + 1}`);
    const after = facts({ journal: { ...facts().journal, tail } });
    const seen = evidence({ after, gate: { kind: 'sent', runs: [run] } });
    const found = check('gate-batch', seen);
    expect(found.seen).toBe('no worker answered (1 of 3 probes done); queued: links');
    expect(found.evidence.slice(3, 5)).toEqual(['last lines of the journal:', '  line 6']);
    expect(found.evidence.at(-1)).toBe('  line 20');
    // A task that failed has told its reason.
    const failed = { ok: false, jobs: [job('batch', 'failed')], problem: 'x' };
    const other = evidence({ after, gate: { kind: 'sent', runs: [report(batch, failed)] } });
    expect(check('gate-batch', other).evidence).toHaveLength(1);
  });

  test('a failed probe shows its details; without any probe it does not pass', () => {
    const failed = sent(
      report(single, {
        ok: false,
        jobs: [job('celery', 'failed', 'ValueError: x')],
        problem: 'a task failed',
      }),
    );
    expect(check('gate-job', failed)).toMatchObject({
      seen: 'a task failed (0 of 1 probe done)',
      evidence: ['celery: failed in 0.4 s (id-celery): ValueError: x'],
    });
    const evidence = ['  File "tasks.py", line 1', 'ValueError: x'];
    const problem = 'the tasks do not import';
    const empty = sent(report(single, { ok: false, jobs: [], problem, evidence }));
    expect(check('gate-job', empty)).toMatchObject({ verdict: 'fail', seen: problem, evidence });
  });

  test('an error fails, and probes that were not sent are listed', () => {
    const fault = { kind: 'fault', problem: 'no python', evidence: ['e'], next: 'n' } as const;
    const seen = sent(
      { request: single, result: fault },
      { request: batch, result: { kind: 'not-sent' } },
    );
    expect(check('gate-job', seen)).toMatchObject({
      verdict: 'fail',
      seen: 'not sent: no python',
      evidence: ['e'],
      next: 'n',
    });
    expect(check('gate-batch', seen).verdict).toBe('unknown');
  });

  test('a dry run lists the probes', () => {
    const gate = {
      kind: 'not-sent',
      requests: [single, batch],
      why: 'dry run, would send',
    } as const;
    expect(check('gate-batch', evidence({ gate }))).toMatchObject({
      verdict: 'unknown',
      seen: 'dry run, would send: 3 to batch, links, variations',
    });
  });
});

describe('the error of a verdict', () => {
  test('is that of the first failed check, and names the others', () => {
    const verdict = judge(
      evidence({
        before: facts({
          unit: unitFact({
            activeState: 'failed',
            subState: 'failed',
            mainPid: null,
            processes: [],
          }),
        }),
        stuck: {
          kind: 'read',
          rows: [
            {
              table: 'jobs',
              count: 1,
              inherited: 0,
              oldestAgeSeconds: seconds(9999),
              sampleIds: [],
            },
          ],
        },
      }),
      desired(),
    );
    expect(verdict.conclusion).toBe('unhealthy');
    const error = gateError(verdict);
    expect(error).toMatchObject({
      name: 'GateError',
      check: 'unit',
      message:
        'celery-worker.service: failed (failed); expected active (running) (also failed: processes, stuck-jobs)',
    });
    expect(error?.next).toContain('journalctl -u celery-worker.service');
  });

  test('is null with only warnings and skipped checks', () => {
    const verdict = judge(withUnit({ needDaemonReload: true }), desired());
    expect(verdict.conclusion).toBe('healthy');
    expect(gateError(verdict)).toBeNull();
  });
});

describe('what must be known', () => {
  const unasked = { kind: 'not-asked', why: 'the unit does not show its queues' } as const;
  const request = { id: 'gate-job', title: '1 call of x', request: {} as GateRequest['request'] };
  const unsent = (why: string) =>
    ({ kind: 'not-sent', requests: [request as GateRequest], why }) as const;

  test('a worker of which nobody knows whether it consumes is inconclusive without a gate', () => {
    const verdict = judge(evidence({ consuming: unasked }), desired());
    expect(verdict.conclusion).toBe('inconclusive');
    expect(gateError(verdict)).toMatchObject({
      message: expect.stringMatching(/^inconclusive: .*consuming: not asked: the unit does not/),
    });
  });

  test('a probe that came back proves it as well', () => {
    const job = { id: 'a', where: 'x', state: 'done', detail: '', seconds: seconds(1) } as const;
    const report: JobReport = { ok: true, jobs: [job], problem: null };
    const run = { request: request as GateRequest, result: { kind: 'report', report } } as const;
    const gate = { kind: 'sent', runs: [run] } as const;
    expect(judge(evidence({ consuming: unasked, gate }), desired()).conclusion).toBe('healthy');
  });

  test('a probe that was asked for must be sent, except in a dry run', () => {
    const seen = evidence({ gate: unsent('not sent') });
    expect(judge(seen, desired()).conclusion).toBe('inconclusive');
    expect(judge(seen, desired({ dryRun: true })).conclusion).toBe('healthy');
    // In the real run, the probe may prove what cannot be asked now.
    const both = evidence({ consuming: unasked, gate: unsent('dry run, would send') });
    expect(judge(both, desired({ dryRun: true })).conclusion).toBe('healthy');
    const none = evidence({ consuming: unasked });
    expect(judge(none, desired({ dryRun: true })).conclusion).toBe('inconclusive');
  });

  test('memory, limits and strays of which nothing is known do not pass', () => {
    expect(check('strays', evidence({ strays: null })).verdict).toBe('unknown');
    expect(check('memory', withUnit({ memory: null })).verdict).toBe('unknown');
    const unread = withProperties({ MemoryMax: '', MemoryHigh: '' });
    expect(check('limits', unread)).toMatchObject({
      verdict: 'unknown',
      seen: 'MemoryMax unknown; MemoryHigh unknown',
    });
    expect(check('limits', unread, desired({ memoryMaxBytes: mib(800) })).verdict).toBe('fail');
  });

  test('a check that failed is unhealthy, whatever else is unknown', () => {
    const before = facts({ unit: unitFact({ activeState: 'failed' }) });
    expect(judge(evidence({ before, consuming: unasked }), desired()).conclusion).toBe('unhealthy');
  });

  test('other checks that are unknown are shown, and do not matter', () => {
    const before = facts({ kernel: { ...facts().kernel, readable: false } });
    const verdict = judge(evidence({ before }), desired());
    expect(verdict.conclusion).toBe('healthy');
    expect(verdict.checks).toContainEqual(
      expect.objectContaining({ id: 'kernel-oom', verdict: 'unknown' }),
    );
  });

  test('each check has an id of its own, and says what it proves and what not', () => {
    expect(new Set(checkModules.map(({ id }) => id)).size).toBe(checkModules.length);
    for (const { proves, doesNotProve } of checkModules) {
      expect(proves).toMatch(/\.$/);
      expect(doesNotProve).toMatch(/\.$/);
    }
  });
});
