import { describe, expect, test } from 'vitest';
import type { VerifyDesired } from '../../../src/config/verify-desired.ts';
import type { FileSystemRoom, Stalls } from '../../../src/model/facts/host.ts';
import type { EndedRun, KernelFact } from '../../../src/model/facts/journal.ts';
import type { UnitFact } from '../../../src/model/facts/unit.ts';
import { epochSeconds, MiB, seconds } from '../../../src/model/units.ts';
import type { Check } from '../../../src/model/verdict.ts';
import { judge } from '../../../src/verify/checks.ts';
import type { VerifyEvidence, VerifyFacts } from '../../../src/verify/evidence.ts';
import { desired, evidence, facts, fileFact, mib, now, process, stall, unitFact } from './facts.ts';

function find(id: string, seen: VerifyEvidence, wanted: VerifyDesired = desired()): Check | null {
  return judge(seen, wanted).checks.find((one) => one.id === id) ?? null;
}

/** Everything that is red. */
const failed = (seen: VerifyEvidence, wanted: VerifyDesired = desired()): readonly string[] =>
  judge(seen, wanted)
    .checks.filter(({ verdict }) => verdict === 'fail')
    .map(({ id }) => id);

const withFacts = (changes: Partial<VerifyFacts>): VerifyEvidence =>
  evidence({ before: facts(changes) });
const withUnit = (changes: Partial<UnitFact>): VerifyEvidence =>
  withFacts({ unit: unitFact(changes) });
const properties = (changes: Record<string, string>) => ({
  properties: { ...unitFact().properties, ...changes },
});

describe('enabled at boot', () => {
  test('a disabled unit fails, and nothing else', () => {
    const seen = withUnit({ unitFileState: 'disabled' });
    expect(failed(seen)).toEqual(['enabled']);
    expect(find('enabled', seen)).toMatchObject({
      seen: 'disabled: after a reboot, no worker runs',
      expected: 'a unit that starts after a reboot',
      next: '`systemctl enable celery-worker.service`, or deploy again',
    });
  });

  test.each([
    ['enabled', {}, 'pass'],
    ['generated', {}, 'pass'],
    ['enabled-runtime', {}, 'warn'],
    ['transient', {}, 'warn'],
    ['disabled', {}, 'fail'],
    ['static', {}, 'warn'],
    ['static', { WantedBy: 'app.target' }, 'pass'],
    ['disabled', { RequiredBy: 'app.target' }, 'pass'],
    ['indirect', { TriggeredBy: 'worker.timer' }, 'pass'],
    ['disabled', { BoundBy: 'app.service' }, 'pass'],
    ['linked', { WantedBy: '' }, 'warn'],
    ['masked', { WantedBy: 'app.target' }, 'fail'],
    ['', {}, 'unknown'],
  ])('%j with %j: %s', (unitFileState, changes, verdict) => {
    const seen = withUnit({ unitFileState, ...properties(changes) });
    expect(find('enabled', seen)?.verdict).toBe(verdict);
  });
});

test('a unit that no release enabled may be started by hand', () => {
  for (const unitFileState of ['disabled', 'masked']) {
    const seen = withFacts({ settings: null, unit: unitFact({ unitFileState }) });
    expect(failed(seen)).toEqual([]);
    expect(find('enabled', seen)?.verdict).toBe('warn');
  }
});

describe('the run of the unit', () => {
  const run = (InvocationID: string, changes: Record<string, string> = {}) =>
    facts({ unit: unitFact(properties({ InvocationID, ...changes })) });
  const [first, last] = ['a'.repeat(32), 'b'.repeat(32)];
  const ended = (changes: Partial<EndedRun> = {}): EndedRun => ({
    run: first,
    at: epochSeconds(now + 5),
    result: 'success',
    phase: 'started',
    stopped: true,
    restarted: false,
    exit: '',
    ...changes,
  });
  const crash: Partial<EndedRun> = {
    result: 'signal',
    stopped: false,
    exit: 'celery-worker.service: Main process exited, code=killed, status=9/KILL',
  };
  /** Another run after the gate, with these ends in between. */
  const anew = (runs: readonly Partial<EndedRun>[], NRestarts = '0', ends: string[] = []) => {
    const after = run(last, { NRestarts });
    const endedRuns = runs.map(ended);
    return evidence({
      before: run(first),
      after: { ...after, journal: { ...after.journal, ends, endedRuns } },
    });
  };
  const became = 'restarted during the gate: run aaaaaaaa became bbbbbbbb';

  test('that began during the gate is a warning; one that systemd began fails by itself', () => {
    const seen = anew([{}]);
    expect(failed(seen)).toEqual([]);
    expect(find('invocation', seen)).toMatchObject({
      verdict: 'warn',
      seen: became,
    });
    const bySystemd = anew([{ ...crash, restarted: true }], '1');
    expect(failed(bySystemd)).toEqual(['restarts']);
    expect(find('invocation', bySystemd)?.verdict).toBe('warn');
  });

  test('that failed fails, however soon another program started the unit again', () => {
    const said = ["celery-worker.service: Failed with result 'signal'."];
    const seen = anew([crash], '0', said);
    expect(failed(seen)).toEqual(['invocation']);
    expect(find('invocation', seen)).toMatchObject({
      seen: `${became}; run aaaaaaaa failed with result signal (Main process exited, code=killed, status=9/KILL)`,
      evidence: ['systemd said:', ...said],
    });
    // Of several, one that was started and failed meanwhile.
    const second = anew([{ run: 'f'.repeat(32), result: 'exit-code' }, {}, { ...crash, run: 'c' }]);
    expect(failed(second)).toEqual(['invocation']);
    expect(find('invocation', second)?.seen).toContain('; run c failed with result signal');
    expect(find('invocation', second)?.seen).not.toContain('ffffffff');
  });

  test.each(['exit-code', 'signal', 'core-dump', 'oom-kill', 'watchdog', 'timeout', 'protocol'])(
    'that ended with result %s fails',
    (result) => {
      const seen = anew([{ ...crash, result, exit: '' }]);
      expect(failed(seen)).toEqual(['invocation']);
      expect(find('invocation', seen)?.seen).toBe(
        `${became}; run aaaaaaaa failed with result ${result}`,
      );
    },
  );

  test.each([
    ['timeout', 'warn'],
    ['exit-code', 'warn'],
    ['signal', 'warn'],
    ['oom-kill', 'fail'],
    ['watchdog', 'fail'],
    ['core-dump', 'warn'],
  ])('that was asked to stop and ended with result %s: %s', (result, verdict) => {
    const check = find('invocation', anew([{ result }]));
    expect(check?.verdict).toBe(verdict);
    expect(check?.seen).toContain(`result ${result}`);
  });

  test.each([
    ['', 'timeout', 'as the journal does not show that it had started (LogLevelMax?)'],
    ['', 'core-dump', 'as the journal does not show that it had started (LogLevelMax?)'],
    ['reloading', 'signal', 'as systemd does not log it during a reload'],
  ] as const)(
    'that may have been stopped (%s), with result %s, is a warning',
    (phase, result, why) => {
      const seen = anew([{ result, phase, stopped: false }]);
      expect(failed(seen)).toEqual([]);
      expect(find('invocation', seen)).toMatchObject({
        verdict: 'warn',
        seen: `${became}; run aaaaaaaa ended with result ${result}: whether it was stopped is unknown, ${why}`,
      });
    },
  );

  test.each([
    // Nobody who stops a worker has it end so.
    { ...crash, phase: '', result: 'oom-kill' },
    { ...crash, phase: '', result: 'watchdog' },
    // Systemd starts nothing again that was stopped.
    { ...crash, phase: '', restarted: true },
    { ...crash, phase: 'not-started', result: 'timeout' },
  ] as const)('that nobody can have stopped fails: %o', (end) => {
    expect(failed(anew([end, { run: 'c' }]))).toEqual(['invocation']);
  });

  test('whose end is not known is a warning that says so', () => {
    const missing =
      '; how run aaaaaaaa ended is unknown: the journal does not show what systemd logged about it';
    expect(find('invocation', anew([]))).toMatchObject({
      verdict: 'warn',
      seen: `${became}${missing}`,
    });
    // Of one that ended before the gate, nothing follows.
    const old = { ...crash, run: 'c', at: epochSeconds(now - 5) };
    expect(find('invocation', anew([old]))?.verdict).toBe('warn');
    expect(failed(anew([{ ...old, at: epochSeconds(now + 1) }]))).toEqual(['invocation']);
    expect(find('invocation', anew([{ result: '' }]))).toMatchObject({
      verdict: 'warn',
      seen: `${became}; how run aaaaaaaa ended is unknown: systemd did not log it`,
    });
  });

  test('that systemd itself started again is counted once, by `restarts` or here', () => {
    const again = { ...crash, restarted: true };
    const tolerant = { ...desired(), maxRestarts: 1 };
    expect(failed(anew([again], '1'), tolerant)).toEqual([]);
    // A person's restart set the count of systemd back to 0.
    const reset = anew([again, { run: 'c' }]);
    expect(failed(reset)).toEqual(['invocation']);
    expect(failed(reset, tolerant)).toEqual([]);
    expect(failed(anew([again, { run: 'c' }, { ...again, run: 'd' }], '1'), tolerant)).toEqual([
      'invocation',
    ]);
  });

  test('with a failure on record is a warning; without a run, or an id, it is unknown', () => {
    expect(find('invocation', withUnit(properties({ Result: 'oom-kill' })))).toMatchObject({
      verdict: 'warn',
      seen: expect.stringContaining('; result oom-kill'),
    });
    expect(find('invocation', withUnit(properties({ InvocationID: '' })))?.verdict).toBe('unknown');
    expect(find('invocation', withUnit({ activeState: 'failed' }))?.verdict).toBe('unknown');
  });
});

describe('the watchdog', () => {
  /** 5 min is its time. */
  const fed = (age: number) =>
    properties({ WatchdogTimestampMonotonic: String((5000 - age) * 1_000_000) });

  test.each([
    [0, 'pass'],
    [74, 'pass'],
    [224, 'pass'],
    [226, 'warn'],
    [374, 'warn'],
    [376, 'fail'],
  ])('fed %d s ago: %s', (age, verdict) => {
    const seen = withUnit(fed(age));
    expect(find('watchdog', seen)?.verdict).toBe(verdict);
    if (verdict === 'fail') expect(failed(seen)).toEqual(['watchdog']);
  });

  test('is not judged by a clock that somebody sets, or that goes on while the machine sleeps', () => {
    const { host } = facts();
    const set = { ...host, now: epochSeconds(host.now + 7200), uptime: seconds(90_000) };
    expect(find('watchdog', withFacts({ host: set, unit: unitFact(fed(20)) }))).toMatchObject({
      verdict: 'pass',
      seen: 'fed 20 s ago; its limit is 5 min',
    });
  });

  test('says whether it was fed during the gate', () => {
    const before = facts({ unit: unitFact(fed(80)) });
    const after = facts({ unit: unitFact(fed(3)) });
    expect(find('watchdog', evidence({ before, after }))?.seen).toBe(
      'fed 3 s ago, and during the gate; its limit is 5 min',
    );
    expect(find('watchdog', evidence({ before, after: before }))?.seen).toBe(
      'fed 1 min 20 s ago; its limit is 5 min',
    );
  });

  test('does not apply without one; without a timestamp it is unknown', () => {
    expect(find('watchdog', withUnit(properties({ WatchdogUSec: '0' })))).toBeNull();
    expect(find('watchdog', withUnit(properties({ WatchdogUSec: 'infinity' })))).toBeNull();
    expect(find('watchdog', withUnit(properties({ Type: 'simple' })))).toBeNull();
    expect(find('watchdog', withUnit({ activeState: 'failed' }))).toBeNull();
    const untold = withUnit(properties({ WatchdogTimestampMonotonic: '0' }));
    expect(find('watchdog', untold)?.verdict).toBe('unknown');
  });
});

describe('processes that can run', () => {
  const states = (main: string, child: string, grandchild: string | null = null) => ({
    processes: [
      process(100, 1, { state: main }),
      process(101, 100, { state: child }),
      ...(grandchild === null ? [] : [process(200, 101, { state: grandchild })]),
    ],
  });

  test('a stopped child fails, and nothing else', () => {
    const seen = withUnit(states('S', 'T'));
    expect(failed(seen)).toEqual(['progress']);
    expect(find('progress', seen)).toMatchObject({
      seen: 'stopped by a signal: pid 101',
      next: expect.stringContaining('`kill -CONT 101`'),
      evidence: [expect.stringMatching(/^pid 101 of 100, T, /)],
    });
  });

  test.each([
    ['T', 'S', null, 'fail'],
    ['S', 'R', null, 'pass'],
    ['S', 'D', null, 'pass'],
    ['S', 't', null, 'warn'],
    ['S', 'S', 'T', 'warn'],
    ['S', 'T', 'T', 'fail'],
  ])('main %s, child %s, its process %s: %s', (main, child, grandchild, verdict) => {
    expect(find('progress', withUnit(states(main, child, grandchild)))?.verdict).toBe(verdict);
  });

  test('a process that waits for a disk at both looks is a warning', () => {
    const waiting = facts({ unit: unitFact(states('S', 'D')) });
    expect(find('progress', evidence({ before: waiting, after: waiting }))).toMatchObject({
      verdict: 'warn',
      seen: 'waiting for a disk or the kernel before and after the gate: pid 101',
    });
    const other = facts({
      unit: unitFact({
        processes: [process(100, 1), process(101, 100, { state: 'D', startTicks: 9 })],
      }),
    });
    expect(find('progress', evidence({ before: waiting, after: other }))?.verdict).toBe('pass');
    expect(find('progress', evidence({ before: waiting, after: facts() }))?.verdict).toBe('pass');
  });

  test('without processes it is unknown', () => {
    expect(find('progress', withUnit({ processes: [] }))?.verdict).toBe('unknown');
  });
});

describe('events at the memory limits', () => {
  const memory = (events: Record<string, number>) => ({
    memory: { currentBytes: mib(212), peakBytes: mib(300), events },
  });

  test('MemoryMax reached is a warning; what happened during the gate is told apart', () => {
    const before = facts({ unit: unitFact(memory({ high: 2, max: 5, oom: 0, oom_kill: 0 })) });
    const after = facts({ unit: unitFact(memory({ high: 2, max: 9, oom: 0, oom_kill: 0 })) });
    expect(find('memory-events', evidence({ before, after }))).toMatchObject({
      verdict: 'warn',
      seen: 'high 2, max 9 (4 during the gate), oom 0, oom_kill 0 since the start; reached MemoryMax 9 times',
    });
    expect(find('memory-events', evidence({ before }))?.seen).toContain('max 5, oom 0');
  });

  test('a kill of a child while the unit stays active is found by one check', () => {
    const seen = withUnit(memory({ high: 0, max: 3, oom: 1, oom_kill: 1 }));
    expect(failed(seen)).toEqual(['oom']);
    expect(find('memory-events', seen)?.verdict).toBe('warn');
  });

  test('memory that ran out without a kill is a warning; no accounting is unknown', () => {
    expect(find('memory-events', withUnit(memory({ oom: 2, oom_kill: 1 })))?.seen).toContain(
      'memory ran out at MemoryMax without a kill',
    );
    expect(find('memory-events', withUnit({ memory: null }))?.verdict).toBe('unknown');
  });
});

describe('the kernel log', () => {
  const line = (message: string) => ({ at: epochSeconds(now - 60), message });
  const about = (group: string, pid: number) => [
    line(
      `oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0,oom_memcg=${group},task_memcg=${group},task=celery,pid=${pid},uid=0`,
    ),
    line(`Memory cgroup out of memory: Killed process ${pid} (celery) total-vm:1kB`),
  ];
  const kernel = (...messages: ReturnType<typeof about>): KernelFact => ({
    since: epochSeconds(now),
    outOfMemory: messages,
    readable: true,
  });
  const killed = unitFact({
    memory: { currentBytes: mib(1), peakBytes: mib(2), events: { oom: 1, oom_kill: 1 } },
  });
  const own = '/system.slice/celery-worker.service';

  test('leaves kills at the limit of the unit to the check that counts them', () => {
    const seen = withFacts({ unit: killed, kernel: kernel(...about(own, 101)) });
    expect(failed(seen)).toEqual(['oom']);
    expect(find('kernel-oom', seen)).toMatchObject({
      verdict: 'pass',
      seen: 'none but 1 kill at the limit of the unit (check oom)',
    });
    // After a restart, only the kernel remembers it.
    expect(failed(withFacts({ kernel: kernel(...about(own, 101)) }))).toEqual(['kernel-oom']);
  });

  test('counts the kills of others', () => {
    const both = kernel(...about(own, 101), ...about('/system.slice/other.service', 200));
    const seen = withFacts({ unit: killed, kernel: both });
    expect(failed(seen)).toEqual(['oom', 'kernel-oom']);
    expect(find('kernel-oom', seen)?.seen).toBe('1 kill since the start of the unit');
  });
});

test('memory is shown for the main process and for its children', () => {
  const processes = [
    process(100, 1, { residentBytes: mib(80) }),
    process(101, 100, { residentBytes: mib(100) }),
    process(102, 100, { residentBytes: mib(20) }),
  ];
  expect(find('memory', withUnit({ processes }))?.seen).toContain(
    '; resident: main 80 MiB, 2 children 120 MiB; ',
  );
  const alone = { processes: [process(100, 1)] };
  expect(find('memory', withUnit(alone))?.seen).toContain('; resident: main 70 MiB; ');
});

describe('swap after a reboot', () => {
  const { swap, sysctl, host } = facts();
  const area = swap.active[0] as (typeof swap.active)[number];
  const seenWith = (changes: Partial<typeof swap>) => withFacts({ swap: { ...swap, ...changes } });
  const boot = (changes: Partial<typeof swap>) => find('swap-boot', seenWith(changes));

  test('a swap file that is not in fstab fails if swap is required, and nothing else', () => {
    const required = desired({ swapBytes: mib(2048) });
    for (const fstab of [
      fileFact('# /swapfile none swap sw 0 0\n/dev/sda1 / ext4 defaults 0 1\n'),
      { kind: 'absent' } as const,
    ]) {
      expect(failed(seenWith({ fstab }), required)).toEqual(['swap-boot']);
      expect(boot({ fstab })).toMatchObject({
        verdict: 'warn',
        seen: '/swapfile is not in /etc/fstab; swappiness 10 (/etc/sysctl.d/99-zz-celeriac.conf:2)',
        next: 'run provision, which writes the line',
      });
    }
    const verdict = (line: string, active = swap.active) =>
      find('swap-boot', seenWith({ active, fstab: fileFact(`${line}\n`) }), required)?.verdict;
    expect(verdict('/swapfile none swap sw,noauto 0 0')).toBe('fail');
    expect(verdict('/swapfile /mnt ext4 defaults 0 0')).toBe('fail');
    // It may be a link to it.
    expect(verdict('/swap none swap sw 0 0')).toBe('warn');
  });

  test('a swap file of another program, or behind a link, is a warning', () => {
    const required = desired({ swapBytes: mib(2048) });
    for (const fstab of [fileFact('/swap none swap sw 0 0\n'), { kind: 'absent' } as const]) {
      const seen = seenWith({ active: [{ ...area, path: '/var/swap' }], fstab });
      expect(failed(seen, required)).toEqual([]);
      expect(find('swap-boot', seen, required)).toMatchObject({
        verdict: 'warn',
        next: expect.stringContaining('unless a program (such as dphys-swapfile)'),
      });
    }
  });

  test('one with a unit of its own is kept', () => {
    const active = [{ ...area, path: '/swap/file 1' }];
    const fstab = { kind: 'absent' } as const;
    expect(boot({ active, fstab, enabledUnits: ['swap-file\\x201.swap'] })?.verdict).toBe('pass');
    expect(boot({ active, fstab, enabledUnits: ['swap-file.swap'] })?.verdict).toBe('warn');
    expect(boot({ active, fstab: fileFact('/swap/file\\0401 none swap sw') })?.verdict).toBe(
      'pass',
    );
  });

  test.each([
    ['UUID=1234-abcd none swap sw 0 0', 'pass'],
    ['/dev/mapper/vg-swap none swap sw 0 0', 'pass'],
    ['UUID=1234-abcd none swap noauto 0 0', 'warn'],
    ['UUID=1234-abcd / ext4 defaults 0 1', 'warn'],
  ])('a partition, with %j in fstab: %s', (line, verdict) => {
    const active = [{ ...area, path: '/dev/vda3', type: 'partition' }];
    expect(boot({ active, fstab: fileFact(`${line}\n`) })?.verdict).toBe(verdict);
  });

  test('what cannot be known is unknown; without swap there is nothing to say', () => {
    expect(boot({ fstab: { kind: 'symlink', target: '/x' } })?.verdict).toBe('unknown');
    expect(boot({ active: [{ ...area, path: '/dev/zram0' }] })?.verdict).toBe('unknown');
    expect(boot({ active: [] })).toBeNull();
    const lxc = withFacts({ host: { ...host, container: 'lxc' } });
    expect(find('swap-boot', lxc)?.verdict).toBe('unknown');
  });

  const setting = sysctl.settings[0] as (typeof sysctl.settings)[number];
  test.each([
    ['10', [setting, { ...setting, value: '60', line: 3 }], 'warn', ', then 60 ('],
    ['10', [{ ...setting, value: '60', line: 1 }, setting], 'pass', 'swappiness 10 ('],
    ['10', [], 'warn', 'swappiness 10 until the next reboot: no file sets it'],
    ['60', [], 'pass', 'swappiness 60, the default'],
  ])('swappiness %s with %j: %s', (now, settings, verdict, said) => {
    const changed = { ...sysctl, values: { 'vm.swappiness': now }, settings };
    const found = find('swap-boot', withFacts({ sysctl: changed }));
    expect(found?.verdict).toBe(verdict);
    expect(found?.seen).toContain(said);
  });

  test('swappiness that belongs to somebody else is not judged', () => {
    const changed = { ...sysctl, readOnly: ['vm.swappiness'], settings: [] };
    expect(find('swap-boot', withFacts({ sysctl: changed }))?.seen).toBe(
      '/swapfile is in /etc/fstab',
    );
  });
});

describe('the settings of the unit', () => {
  const dropIn = '/etc/systemd/system/celery-worker.service.d/zz-mine.conf';
  const later = (text: string, changes: Record<string, string>) =>
    withUnit({ ...properties(changes), dropIns: [{ path: dropIn, text }] });

  test('a property that a later drop-in changes fails, and nothing else; its line is named', () => {
    const seen = later('[Service]\nRestart=always\nRestart=on-failure\n', {
      Restart: 'on-failure',
    });
    expect(failed(seen)).toEqual(['settings']);
    expect(find('settings', seen)).toMatchObject({
      seen: `Restart=on-failure (set by ${dropIn}:3)`,
      expected: 'Restart=always',
    });
  });

  test('a limit that a later drop-in changes fails in the check of limits, without any input', () => {
    const seen = later('[Service]\nMemoryMax=2G\n', { MemoryMax: String(2048 * MiB) });
    expect(failed(seen)).toEqual(['limits']);
    expect(find('limits', seen)).toMatchObject({
      seen: `MemoryMax 2 GiB (set by ${dropIn}:2); MemoryHigh 600 MiB`,
      expected: 'MemoryMax 800 MiB',
    });
    const none = later('[Service]\nMemoryMax=\n', { MemoryMax: 'infinity' });
    expect(find('limits', none)).toMatchObject({
      verdict: 'fail',
      seen: `no MemoryMax (set by ${dropIn}:2); MemoryHigh 600 MiB`,
      expected: 'MemoryMax 800 MiB',
    });
  });

  test('an input comes before what the release proved', () => {
    const seen = later('[Service]\nMemoryMax=2G\n', { MemoryMax: String(2048 * MiB) });
    expect(failed(seen, desired({ memoryMaxBytes: mib(2048) }))).toEqual([]);
  });

  test('a limit that the release did not want fails', () => {
    const { settings } = facts();
    const wanted = { ...settings?.properties, MemoryHigh: 'infinity' };
    const seen = withFacts({ settings: { transaction: 't', properties: wanted } });
    expect(find('limits', seen)).toMatchObject({ verdict: 'fail', expected: 'no MemoryHigh' });
  });

  test('a longer time to stop is accepted, a shorter one is not', () => {
    const released = { transaction: 't', properties: { TimeoutStopUSec: '16min', Other: 'x' } };
    const stop = (TimeoutStopUSec: string) =>
      withFacts({ settings: released, unit: unitFact(properties({ TimeoutStopUSec })) });
    expect(find('settings', stop('16min'))?.seen).toBe('1 property as in release t');
    expect(find('settings', stop('1h'))?.verdict).toBe('pass');
    expect(find('settings', stop('infinity'))?.verdict).toBe('pass');
    expect(find('settings', stop('1min 30s'))).toMatchObject({
      verdict: 'fail',
      seen: 'TimeoutStopUSec=1min 30s',
    });
  });

  test('of a unit that was never deployed are unknown, and its limits are judged as before', () => {
    const seen = withFacts({
      settings: null,
      unit: unitFact(properties({ MemoryMax: String(2048 * MiB) })),
    });
    expect(find('settings', seen)?.verdict).toBe('unknown');
    expect(find('limits', seen)?.verdict).toBe('pass');
  });
});

describe('disk space', () => {
  const of = (used: number, free: number) => ({ used: mib(used), free: mib(free) });
  const [root] = facts().room;
  const on = (changes: Partial<FileSystemRoom>) =>
    withFacts({ room: [root as FileSystemRoom, { ...(root as FileSystemRoom), ...changes }] });

  test('a file system at 96 % fails, and nothing else', () => {
    const seen = on({ mountPoint: '/srv/app', bytes: of(96, 4) });
    expect(failed(seen)).toEqual(['disk']);
    expect(find('disk', seen)).toMatchObject({
      seen: '/ 16 % full, 41 GiB free; /srv/app 96 % full, 4 MiB free',
      expected: 'at most 95 % of /srv/app used',
      next: 'free up space on /srv/app',
    });
  });

  test.each([
    [{ bytes: of(95, 5) }, 'warn'],
    [{ bytes: of(90, 10) }, 'pass'],
    [{ bytes: of(91, 9) }, 'warn'],
    [{ bytes: of(100, 0) }, 'fail'],
    // 4 % of a large disk are enough for a while.
    [{ bytes: of(96 * 1024 * 10, 4 * 1024 * 10) }, 'warn'],
    [{ inodes: { used: 96, free: 4 } }, 'fail'],
    [{ inodes: { used: 92, free: 8 } }, 'warn'],
    [{ inodes: null }, 'pass'],
    [{ bytes: null, inodes: null, type: 'nfs4' }, 'unknown'],
  ])('%j: %s', (changes, verdict) => {
    expect(find('disk', on(changes))?.verdict).toBe(verdict);
  });

  test('inodes are named only where they matter; without a file system it is unknown', () => {
    expect(find('disk', on({ inodes: { used: 965, free: 35 } }))?.seen).toContain(
      '41 GiB free, 96.5 % of its inodes used',
    );
    expect(find('disk', withFacts({ room: [] }))?.verdict).toBe('unknown');
  });
});

describe('the clock of the host', () => {
  const skew = (ahead: number, within: number) =>
    evidence({ clockSkew: { ahead: seconds(ahead), within: seconds(within) } });

  test('off by 5 min fails, and nothing else', () => {
    expect(failed(skew(300, 0.5))).toEqual(['clock']);
    expect(find('clock', skew(-300, 0.5))).toMatchObject({
      verdict: 'fail',
      seen: "5 min behind the runner's, ± 0.5 s",
    });
  });

  test.each([
    [0, 1, 'pass'],
    [30, 1, 'pass'],
    [-40, 1, 'warn'],
    [121, 0.5, 'fail'],
    [121, 2, 'warn'],
    // Nobody knows.
    [10, 130, 'unknown'],
    [100, 90, 'unknown'],
    [300, 100, 'fail'],
  ])('ahead by %d s, ± %d s: %s', (ahead, within, verdict) => {
    expect(find('clock', skew(ahead, within))?.verdict).toBe(verdict);
  });

  test('that was not compared is unknown', () => {
    expect(find('clock', evidence({ clockSkew: null }))?.verdict).toBe('unknown');
  });
});

describe('waiting for memory and I/O', () => {
  const of = (unit: Partial<Stalls>, machine: Partial<Stalls> = {}) => ({
    pressure: {
      unit: { memory: stall(0), io: stall(0), ...unit },
      machine: { memory: stall(0), io: stall(0), ...machine },
    },
  });

  test('a unit that stands still at its limit, although it is active, fails', () => {
    const seen = withFacts(of({ memory: stall(96, 82.5) }));
    expect(failed(seen)).toEqual(['pressure']);
    expect(find('pressure', seen)?.seen).toContain('unit: memory 82.5 % of the last 5 min');
  });

  test.each([
    [{ memory: stall(10) }, {}, 'pass'],
    [{ memory: stall(10.5) }, {}, 'warn'],
    // A minute is not enough to fail.
    [{ memory: stall(100, 20) }, {}, 'warn'],
    [{ io: stall(50) }, {}, 'pass'],
    [{ io: stall(90) }, {}, 'warn'],
    [{}, { memory: stall(60) }, 'fail'],
    [{}, { io: stall(60) }, 'warn'],
    [{ memory: null, io: null }, { memory: null, io: null }, 'unknown'],
  ])('%j, machine %j: %s', (unit, machine, verdict) => {
    expect(find('pressure', withFacts(of(unit, machine)))?.verdict).toBe(verdict);
  });

  test('a container is not judged by its machine', () => {
    const host = { ...facts().host, container: 'lxc' };
    const busy = of({}, { memory: stall(99) });
    expect(find('pressure', withFacts({ ...busy, host }))?.seen).toBe(
      'unit: memory 0 %; unit: I/O 0 %',
    );
    const unknown = of({ memory: null, io: null }, { memory: stall(99) });
    expect(find('pressure', withFacts({ ...unknown, host }))?.verdict).toBe('unknown');
  });
});
