import type { WorkerCall } from '../../../src/celery/worker-call.ts';
import type { VerifyDesired } from '../../../src/config/verify-desired.ts';
import type { BrokerFact, ConsumedQueues } from '../../../src/model/facts/broker.ts';
import type { Stall } from '../../../src/model/facts/host.ts';
import type { LoggedFact } from '../../../src/model/facts/journal.ts';
import type { ProcessFact, UnitFact } from '../../../src/model/facts/unit.ts';
import { bytes, epochSeconds, MiB, seconds, sha256Text } from '../../../src/model/units.ts';
import type { BrokerSearch, VerifyEvidence, VerifyFacts } from '../../../src/verify/evidence.ts';

/** A healthy host like the reference; tests change parts of it. */

export const now = 1_768_734_123;
export const mib = (count: number) => bytes(count * MiB);

export function process(
  pid: number,
  parentPid: number,
  changes: Partial<ProcessFact> = {},
): ProcessFact {
  return {
    pid,
    parentPid,
    state: 'S',
    user: 'root',
    residentBytes: mib(70),
    argv: [
      '/usr/bin/python3',
      '/usr/bin/celery',
      ...[
        '-A',
        'celery_app',
        'worker',
        '-I',
        'celeriac_support',
        '--concurrency=1',
        '-Q',
        'celery,batch,links,variations',
      ],
    ],
    startTicks: 100 + pid,
    ...changes,
  };
}

export function unitFact(changes: Partial<UnitFact> = {}): UnitFact {
  return {
    name: 'celery-worker.service',
    loadState: 'loaded',
    activeState: 'active',
    subState: 'running',
    unitFileState: 'enabled',
    needDaemonReload: false,
    workingDirectory: '/srv/app',
    fragmentPath: '/etc/systemd/system/celery-worker.service',
    fragment: fileFact('[Service]\nExecStart=/usr/bin/celery -A celery_app worker\n'),
    dropIns: [],
    properties: {
      Type: 'notify',
      Restart: 'always',
      WatchdogUSec: '5min',
      // Fed 20 s ago.
      WatchdogTimestampMonotonic: '4980000000',
      InvocationID: '3f2c9e1ab0c84d6e9f7a5b4c3d2e1f00',
      MemoryMax: String(800 * MiB),
      MemoryHigh: String(600 * MiB),
      NRestarts: '0',
      Result: 'success',
      WorkingDirectory: '/srv/app',
      ExecStart:
        '{ path=/usr/bin/celery ; argv[]=/usr/bin/celery -A celery_app worker ; ignore_errors=no ; start_time=[n/a] }',
    },
    programs: { '/usr/bin/celery': { exists: true, shebang: '#!/usr/bin/python3' } },
    mainPid: 100,
    processes: [process(100, 1), process(101, 100)],
    memory: {
      currentBytes: mib(212),
      peakBytes: mib(300),
      events: { low: 0, high: 0, max: 0, oom: 0, oom_kill: 0 },
    },
    activeSince: epochSeconds(now - 960),
    ...changes,
  };
}

export const fileFact = (text: string) =>
  ({
    kind: 'file',
    text,
    sha256: sha256Text('0'.repeat(64)),
    sizeBytes: bytes(text.length),
    mode: '0644',
    owner: 'root',
    group: 'root',
  }) as const;

/** Percent in which nothing could run. */
export function stall(avg60: number, avg300 = avg60): Stall {
  const full = { avg10: avg60, avg60, avg300 };
  return { some: full, full };
}

export function facts(changes: Partial<VerifyFacts> = {}): VerifyFacts {
  return {
    host: {
      os: { id: 'debian', versionId: '12', name: 'Debian GNU/Linux 12 (bookworm)' },
      kernel: '6.1.0',
      systemd: 252,
      container: null,
      cgroupVersion: 2,
      cpus: 1,
      memory: {
        totalBytes: mib(3891),
        availableBytes: mib(3447),
        swapTotalBytes: mib(2048),
        swapFreeBytes: mib(2048),
      },
      now: epochSeconds(now),
      bootId: 'boot',
      uptime: seconds(5000),
      monotonic: seconds(5000),
      hostname: 'vps',
      python: '3.11.2',
    },
    unit: unitFact(),
    workers: [],
    swap: {
      file: { kind: 'absent' },
      active: [
        {
          path: '/swapfile',
          type: 'file',
          // As the kernel counts: without the header page.
          sizeBytes: bytes(2048 * MiB - 4096),
          usedBytes: bytes(0),
          priority: -2,
        },
      ],
      fstab: fileFact('/swapfile none swap sw 0 0\n'),
      filesystem: { type: 'ext4', mountPoint: '/', sizeBytes: mib(50_000), freeBytes: mib(42_000) },
    },
    sysctl: {
      values: { 'vm.swappiness': '10' },
      readOnly: [],
      settings: [
        { name: 'vm.swappiness', value: '10', path: '/etc/sysctl.d/99-zz-celeriac.conf', line: 2 },
      ],
    },
    settings: {
      transaction: '20261122T131500-4f2a',
      properties: {
        Type: 'notify',
        Restart: 'always',
        WatchdogUSec: '5min',
        MemoryMax: String(800 * MiB),
        MemoryHigh: String(600 * MiB),
      },
    },
    room: [
      {
        mountPoint: '/',
        type: 'ext4',
        bytes: { used: mib(8000), free: mib(42_000) },
        inodes: { used: 100_000, free: 3_000_000 },
      },
    ],
    pressure: {
      machine: { memory: stall(0), io: stall(1.5) },
      unit: { memory: stall(0), io: stall(0) },
    },
    journal: {
      since: epochSeconds(now - 960),
      entries: 120,
      suspects: [],
      tail: [],
      ends: [],
      endedRuns: [],
    },
    kernel: { since: epochSeconds(now - 960), outOfMemory: [], readable: true },
    releases: { releases: [], awaiting: null, guarded: false },
    beats: { units: [], processes: [] },
    http: [],
    ...changes,
  };
}

/** The result of the action's inputs if only the required ones are set. */
export const verifyDefaults = {
  unit: 'celery-worker.service',
  gate: { kind: 'canary' },
  gateBatch: 3,
  gateTimeoutSeconds: seconds(120),
  probes: [],
  ownChecks: [],
  swapBytes: null,
  concurrency: null,
  memoryMaxBytes: null,
  memoryHighBytes: null,
  memoryReturnBytes: null,
  max429: 0,
  rateLimitMax: null,
  maxErrors: null,
  maxRestarts: 0,
  databases: [],
  thresholdSeconds: seconds(1800),
  dryRun: false,
} as const satisfies VerifyDesired;

export const desired = (changes: Partial<VerifyDesired> = {}): VerifyDesired => ({
  ...verifyDefaults,
  ...changes,
});

export const workerCall = (changes: Partial<WorkerCall> = {}): WorkerCall => ({
  app: 'celery_app',
  queues: ['celery', 'batch', 'links', 'variations'],
  excludedQueues: [],
  children: { min: 1, max: 1 },
  forks: true,
  beat: false,
  include: ['celeriac_support'],
  workingDirectory: '/srv/app',
  ...changes,
});

export const loggedFact = (changes: Partial<LoggedFact> = {}): LoggedFact => ({
  since: epochSeconds(now - 960),
  cursor: 's=1;i=2',
  entries: 120,
  complete: true,
  dropped: 0,
  earlier: 5000,
  errors: 0,
  tracebacks: 0,
  signatures: [],
  moreSignatures: 0,
  numbered: [],
  moreNumbered: 0,
  ...changes,
});

export const consumes = (...queues: string[]): ConsumedQueues => ({ kind: 'told', queues });

export const brokerFact = (changes: Partial<BrokerFact & { kind: 'told' }> = {}): BrokerFact => ({
  kind: 'told',
  transport: 'redis',
  lengths: { celery: 0, batch: 0, links: 0, variations: 0 },
  unacked: 0,
  oldestUnackedSeconds: null,
  redeliverySeconds: seconds(3600),
  worker: consumes('celery', 'batch', 'links', 'variations'),
  beat: null,
  ...changes,
});

/** Two looks at the broker. */
export const brokerSearch = (first: BrokerFact, last: BrokerFact = first): BrokerSearch => ({
  kind: 'asked',
  first,
  last,
  firstAt: epochSeconds(now - 30),
  lastAt: epochSeconds(now),
});

export const evidence = (changes: Partial<VerifyEvidence> = {}): VerifyEvidence => ({
  before: facts(),
  after: null,
  call: workerCall(),
  strays: [],
  stuck: { kind: 'read', rows: [] },
  consuming: { kind: 'asked', fact: { kind: 'consumes' } },
  broker: brokerSearch(brokerFact()),
  beats: { units: [], processes: [] },
  logged: loggedFact(),
  loggedMeanwhile: null,
  gate: { kind: 'none' },
  ownCommands: new Map(),
  clockSkew: { ahead: seconds(0.1), within: seconds(0.4) },
  ...changes,
});
