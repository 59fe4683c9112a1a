import type { Report } from '../../src/model/report.ts';
import type { Sample } from '../../src/model/sample.ts';
import type { SoakVerdict } from '../../src/model/soak.ts';
import { bytes, epochSeconds, MiB, seconds } from '../../src/model/units.ts';
import type { Check } from '../../src/model/verdict.ts';
import { marksOfSamples, timelineOf } from '../../src/report/timeline.ts';

/** 2026-01-18 02:00:00 UTC. */
export const begin = 1_768_701_600;
const mib = (count: number) => bytes(Math.round(count * MiB));
const after = (count: number) => epochSeconds(begin + count);
const run = 'https://github.com/example/app/actions/runs/4711';

/** A sample of a worker that is well; minutes from {@link begin}. */
export function sampleAt(minute: number, changes: Partial<Sample> = {}): Sample {
  const busy = Math.max(0, Math.sin(minute / 90)) * 110;
  const children = 150 + Math.sin(minute / 47) * 30 + Math.sin(minute / 7) * 12 + busy;
  return {
    v: 1,
    at: after(minute * 60),
    boot: 'b0',
    uptime: seconds(100_000 + minute * 60),
    changing: false,
    release: null,
    unit: { active: 'active', sub: 'running', invocation: 'i0', restarts: 0, result: 'success' },
    memory: {
      current: mib(90 + children),
      anon: null,
      peak: mib(420),
      main: mib(88),
      children: mib(children),
      swap: mib(0),
      high: mib(600),
      max: mib(800),
    },
    host: { available: mib(900), swapFree: mib(2048) },
    events: { high: 0, max: 0, oom: 0, oomKill: 0 },
    pressure: null,
    worker: {
      queues: {
        celery: minute % 11 === 0 ? 1 : 0,
        batch: Math.max(0, Math.round(Math.sin(minute / 90) * 9)),
        links: Math.max(0, Math.round(Math.sin(minute / 61 + 1) * 23)),
        variations: minute % 37 === 0 ? 4 : 0,
      },
      active: busy > 0 ? 1 : 0,
      processed: minute * 2,
    },
    journal: { errors: 0, tracebacks: 0, rateLimited: 0, dropped: 0, unread: false },
    disk: [],
    ...changes,
  };
}

/** A day with a gap of 20 minutes, a peak of one minute, and an OOM kill. */
export function daySamples(minutes = 1440): readonly Sample[] {
  return Array.from({ length: minutes }, (_, minute) => minute)
    .filter((minute) => minute < 500 || minute >= 520)
    .map((minute) => {
      const sample = sampleAt(minute);
      const events = minute >= 900 ? { high: 9, max: 2, oom: 1, oomKill: 1 } : sample.events;
      if (minute !== 899 || sample.memory === null) return { ...sample, events };
      return { ...sample, memory: { ...sample.memory, current: mib(781) } };
    });
}

const soak: SoakVerdict = {
  state: 'unproven',
  sentence: 'Unproven: 15.7 h of 24 h (2 failing minutes, 3 allowed).',
  since: after(0),
  decidedAt: null,
  wantedSeconds: seconds(86_400),
  coveredSeconds: seconds(56_400),
  gapSeconds: seconds(1200),
  earliestEnd: after(87_600),
  failure: null,
  failingMinutes: 2,
  faults: [{ limit: 'oom', at: after(54_000), sentence: 'A child was killed: out of memory.' }],
  gaps: [{ from: after(30_000), to: after(31_200), why: 'no samples' }],
  hours: Array.from({ length: 16 }, (_, hour) => ({
    at: after(hour * 3600),
    coveredSeconds: seconds(hour === 8 ? 2400 : 3600),
    gapSeconds: seconds(hour === 8 ? 1200 : 0),
    failingMinutes: hour === 15 ? 2 : 0,
  })),
  aspects: [
    { limit: 'unit', title: 'Unit runs', verdict: 'pass', seen: 'active in 940 of 940 minutes' },
    { limit: 'oom', title: 'No OOM kills', verdict: 'fail', seen: '1 kill' },
    { limit: 'queues', title: 'Queues do not grow', verdict: 'unknown', seen: 'not reported' },
  ],
  notes: [],
};

const check = (
  id: string,
  title: string,
  verdict: Check['verdict'],
  seen: string,
  more: Partial<Check> = {},
): Check => ({ id, title, verdict, seen, expected: '', evidence: [], next: '', ...more });

type Release = NonNullable<Report['releases']>[number];
const release = (number: number, state: Release['state'], actor: string, why = ''): Release => ({
  release: number,
  transaction: number === 0 ? null : `20260118T02000${number}-4f2a`,
  at: after((number - 7) * 90_000),
  actor,
  run: number === 0 ? '' : run,
  sha: number === 0 ? '' : `${number}f2c9e1b7a6d5c4b3a2918070605040302010f0e`,
  state,
  since: number === 0 ? null : after((number - 7) * 90_000 + 600),
  why,
});

const queues = ['celery', 'batch', 'links', 'variations'];

/** A report with every part. */
export function sampleReport(changes: Partial<Report> = {}): Report {
  const samples = daySamples();
  return {
    version: 1,
    celeriac: '0.1.0',
    host: 'vps.example.com',
    unit: 'celery-worker.service',
    at: after(86_400),
    by: { run, actor: 'nika', sha: '3f2c9e1b7a6d5c4b3a2918070605040302010f0e' },
    verdict: {
      conclusion: 'unhealthy',
      sentence: 'Not healthy: 1 check failed, 3 passed, 1 warning, 1 unknown.',
    },
    checks: [
      check('unit', 'Unit', 'pass', 'active (running) since 2026-01-18 02:00:11 UTC'),
      check('limits', 'Limits', 'pass', 'MemoryMax 800 MiB, MemoryHigh 600 MiB'),
      check('rate-limits', 'HTTP 429', 'fail', '17 in 2114 lines, 6 in the busiest minute', {
        expected: 'none',
        evidence: [
          '2026-01-18 09:12:44 UTC [ERROR/ForkPoolWorker-1] Task tasks.process_link[8a1c9f] raised unexpected: HTTPStatusError("429 Too Many Requests")',
          '2026-01-18 09:12:45 UTC Traceback (most recent call last):',
        ],
        next: 'lower the concurrency, or slow the tasks down with `rate_limit`',
      }),
      check('errors', 'Errors in the journal', 'warn', '3 in 2114 lines', {
        expected: 'none',
        evidence: ['2026-01-18 07:00:02 UTC KeyError: "slides"'],
        next: 'read the evidence',
      }),
      check('kernel-oom', 'Kernel log', 'unknown', 'cannot be read in this container'),
      check('gate-job', 'Test job', 'pass', '1 canary to celery: done in 0.4 s'),
    ],
    worker: {
      activeState: 'active',
      subState: 'running',
      since: after(11),
      processes: 2,
      restarts: 0,
      memory: { current: mib(262), peak: mib(781), high: mib(600), max: mib(800) },
      queues: { celery: 0, batch: 3, links: 11, variations: 0 },
    },
    timeline: timelineOf(samples),
    marks: [
      { at: after(0), kind: 'deploy', text: 'release 7' },
      { at: after(22_000), kind: 'repair', text: '2 rows repaired' },
      ...marksOfSamples(samples),
      { at: after(86_340), kind: 'job', text: '4 probes' },
    ],
    probes: queues.map((where, index) => ({
      where,
      state: 'done',
      detail: '',
      seconds: seconds(0.4 + index * 0.25),
    })),
    latency: queues.map((where, index) => ({
      where,
      sent: 1,
      done: 1,
      median: seconds(0.4 + index * 0.25),
      slowest: seconds(0.5 + index * 0.3),
    })),
    soak,
    releases: [
      release(7, 'unproven', 'nika'),
      release(6, 'undone', 'ci-bot', 'gate-batch: 2 of 3 probes done'),
      release(5, 'proven', 'nika'),
      release(0, 'before', ''),
    ],
    unitDiff: {
      release: 7,
      text: [
        '--- /etc/systemd/system/celery-worker.service',
        '+++ /etc/systemd/system/celery-worker.service',
        '@@ -8,5 +8,7 @@',
        ' [Service]',
        '-Type=simple',
        '-ExecStart=/usr/bin/celery -A celery_app worker --concurrency=5',
        '+Type=notify',
        '+ExecStart=/usr/bin/celery -A celery_app worker -I celeriac_support --concurrency=1',
        '+MemoryHigh=600M',
        '+MemoryMax=800M',
        ' Restart=always',
      ].join('\n'),
      cut: false,
    },
    repairs: [
      {
        transaction: '20260118T080640-4f2a',
        at: after(22_000),
        run,
        rows: 2,
        what: ['repair 2 rows in /srv/app/backend/batch_processing.db'],
      },
    ],
    comparison: {
      release: 5,
      rows: [
        { title: 'Memory', unit: 'bytes', before: mib(1480), now: mib(262), trend: 'better' },
        { title: 'HTTP 429', unit: 'per-hour', before: 31.5, now: 0.7083, trend: 'better' },
        { title: 'Restarts', unit: 'count', before: 0, now: 0, trend: 'same' },
        { title: 'Canary', unit: 'seconds', before: 0.3, now: 0.8, trend: 'worse' },
        { title: 'Oldest stuck job', unit: 'seconds', before: null, now: 0, trend: null },
      ],
      notKnown:
        'Unknown for this release: the latency of canaries, because no gate of canaries confirmed this release.',
    },
    ...changes,
  };
}

/** A report of which as much as possible is not known. */
export const emptyReport = (): Report =>
  sampleReport({
    by: { run: '', actor: '', sha: '' },
    checks: [],
    worker: {
      activeState: 'unknown',
      subState: 'unknown',
      since: null,
      processes: 0,
      restarts: null,
      memory: null,
      queues: null,
    },
    timeline: null,
    marks: [],
    probes: null,
    latency: null,
    soak: null,
    releases: null,
    unitDiff: null,
    repairs: null,
    comparison: null,
  });

/** Markup, a script, a control character, a mark that reverses text, and one that ends a template. */
export const hostileWords =
  '"\'><script>alert(1)</script><img src=x onerror=alert(1)></style>\u0000\u202e&lt;`${1}';

/** What a report takes from a fixed set of words; its shape lets nothing else in. */
const fixed = new Set(['conclusion', 'verdict', 'kind', 'state', 'trend', 'unit', 'limit']);

function poison<Type>(value: Type): Type {
  if (typeof value === 'string') return `${hostileWords}\n${value}` as Type;
  if (Array.isArray(value)) return value.map(poison) as Type;
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      fixed.has(key) && typeof inner === 'string' ? inner : poison(inner),
    ]),
  ) as Type;
}

/** A report each of whose texts is hostile. */
export const hostileReport = (): Report => ({
  ...poison(sampleReport()),
  unit: `${hostileWords}.service`,
});
