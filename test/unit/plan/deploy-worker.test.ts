import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { workerCommand } from '../../../src/celery/worker-process.ts';
import type { DeployWorkerDesired } from '../../../src/config/deploy-worker-desired.ts';
import { ConfigError } from '../../../src/model/errors.ts';
import type { Plan } from '../../../src/model/operation.ts';
import { sha256Text } from '../../../src/model/units.ts';
import { type DeployWorkerFacts, deployWorkerQuery } from '../../../src/plan/deploy/look.ts';
import { planDeployWorker } from '../../../src/plan/deploy-worker.ts';
import { parseExecLine } from '../../../src/systemd/exec-line.ts';
import { parseUnitFile } from '../../../src/systemd/unit-file.ts';
import { workerDesired } from '../../lib/worker-desired.ts';

const MiB = 1024 ** 2;
const supportText = '# the support module\n';
const supportPath = '/usr/local/lib/celeriac/celeriac_support.py';

const defaults = workerDesired({
  unit: 'celery-worker.service',
  supportModule: { name: 'celeriac_support', text: supportText },
});

/** One file a case, in fixtures/deploy-worker; the hosts in it were looked at by the agent. */
interface Case {
  readonly about: string;
  readonly host: 'before' | 'healthy' | 'reference-unit';
  /** Another unit file than the host's. */
  readonly unit?: string | readonly string[];
  /** Laid over the host's facts: objects are merged, everything else is replaced. */
  readonly facts?: Record<string, unknown>;
  readonly desired?: Partial<DeployWorkerDesired>;
  /** `op: title`, and some of its fields where they matter. */
  readonly operations?: readonly (string | readonly [string, Record<string, unknown>])[];
  /** The unit file that is installed. */
  readonly text?: string | readonly string[];
  readonly satisfied?: readonly string[];
  /** Every finding has one of these in it, and each of these is found; `true`: any. */
  readonly findings?: readonly string[];
  readonly error?: {
    readonly where: string;
    readonly message: string;
    readonly expected?: string;
  };
}

const folder = join(import.meta.dirname, 'fixtures/deploy-worker');
const readJson = (path: string): unknown => JSON.parse(readFileSync(join(folder, path), 'utf8'));
const cases = readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .map((name) => [name.slice(0, -5), readJson(name) as Case] as const);

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function overlay(base: unknown, change: unknown): unknown {
  if (!isObject(base) || !isObject(change)) return change;
  const merged: Record<string, unknown> = 'kind' in change ? {} : { ...base };
  for (const [key, value] of Object.entries(change)) {
    merged[key] = key in merged ? overlay(merged[key], value) : value;
  }
  return merged;
}

const asText = (text: string | readonly string[]): string =>
  typeof text === 'string' ? text : text.map((line) => `${line}\n`).join('');

function regularFile(text: string) {
  const sha256 = createHash('sha256').update(text).digest('hex');
  const sizeBytes = Buffer.byteLength(text);
  return { kind: 'file', text, sha256, sizeBytes, mode: '0644', owner: 'root', group: 'root' };
}

function factsOf({ host, unit, facts }: Case): DeployWorkerFacts {
  const base = readJson(`hosts/${host}.json`);
  const withUnit =
    unit === undefined ? base : overlay(base, { unit: { fragment: regularFile(asText(unit)) } });
  return overlay(withUnit, facts ?? {}) as DeployWorkerFacts;
}

const desiredOf = ({ desired }: Case): DeployWorkerDesired => ({ ...defaults, ...desired });

describe.each(cases)('%s', (_name, example) => {
  const { error } = example;
  if (error) {
    it(`refuses ${example.about}`, () => {
      let thrown: unknown;
      try {
        planDeployWorker(factsOf(example), desiredOf(example));
      } catch (caught) {
        thrown = caught;
      }
      expect(thrown).toBeInstanceOf(ConfigError);
      const refusal = thrown as ConfigError;
      expect(refusal.where).toBe(error.where);
      expect(refusal.message).toContain(error.message);
      expect(refusal.expected).toContain(error.expected ?? '');
      expect(refusal.expected).not.toBe('');
    });
    return;
  }

  it(`plans ${example.about}`, () => {
    const plan = planDeployWorker(factsOf(example), desiredOf(example));
    const expected = example.operations ?? [];
    const titles = expected.map((one) => (typeof one === 'string' ? one : one[0]));
    expect(plan.operations.map(({ op, title }) => `${op}: ${title}`)).toEqual(titles);
    expected.forEach((one, at) => {
      if (typeof one !== 'string') expect(plan.operations[at]).toMatchObject(one[1]);
    });
    for (const { title, why } of plan.operations) {
      expect(title.endsWith('.')).toBe(false);
      expect(why).not.toBe('');
    }
    // The secret of the fixtures is nowhere but in the text that is written.
    const shown = plan.operations.map(({ title, why, diff }) => [title, why, diff]);
    expect(JSON.stringify([shown, plan.findings, plan.satisfied])).not.toContain('hunter2');
    if (example.text !== undefined) {
      const installed = plan.operations.find(({ op }) => op === 'install-unit');
      expect(installed && 'text' in installed && installed.text).toBe(asText(example.text));
    }
    if (example.satisfied) expect(plan.satisfied).toEqual(example.satisfied);
    if (example.findings) {
      const found = plan.findings.map(({ message }) => message);
      const wanted = example.findings;
      for (const one of wanted) expect(found).toContainEqual(expect.stringContaining(one));
      expect(found.filter((one) => !wanted.some((part) => one.includes(part)))).toEqual([]);
    }
  });

  it('is empty once it is carried out', () => {
    const before = factsOf(example);
    const desired = { ...desiredOf(example), restartPolicy: 'when-needed' } as const;
    const plan = planDeployWorker(before, desired);
    const again = planDeployWorker(carryOut(before, plan, desired), desired);
    expect(again.operations).toEqual([]);
    expect(again.findings.filter(({ message }) => message.includes('mends it'))).toEqual([]);
  });
});

describe('the broker', () => {
  const triedWith = (name: string, desired: Partial<DeployWorkerDesired> = {}) => {
    const example = readJson(name) as Case;
    const plan = planDeployWorker(factsOf(example), { ...desiredOf(example), ...desired });
    const attempt = plan.operations.find(({ op }) => op === 'try-app');
    return attempt?.op === 'try-app' ? attempt.broker : null;
  };

  it('must be reached before a running worker is stopped, unless that is accepted', () => {
    expect(triedWith('restart-always.json')).toMatchObject({ refuse: true });
    const accepted = { acceptedRules: ['broker-unreachable'] };
    expect(triedWith('restart-always.json', accepted)).toMatchObject({ refuse: false });
  });

  it('is not asked for a worker that does not run', () => {
    expect(triedWith('failed.json')).toBeUndefined();
  });
});

/** The facts after a plan, as far as its operations make them. */
function carryOut(
  facts: DeployWorkerFacts,
  { operations }: Plan,
  desired: DeployWorkerDesired,
): DeployWorkerFacts {
  let after: unknown = facts;
  const change = (facts: Record<string, unknown>): void => {
    after = overlay(after, facts);
  };
  for (const operation of operations) {
    if (operation.op === 'write-file') {
      change({ files: { [operation.path]: regularFile(operation.text) } });
    } else if (operation.op === 'remove-file') {
      change({ files: { [operation.path]: { kind: 'absent' } } });
      const { dropIns } = (after as DeployWorkerFacts).unit;
      change({ unit: { dropIns: dropIns.filter(({ path }) => path !== operation.path) } });
    } else if (operation.op === 'install-unit' && operation.path.endsWith('.conf')) {
      const { path, text } = operation;
      const others = (after as DeployWorkerFacts).unit.dropIns.filter((one) => one.path !== path);
      const name = (one: string) => one.slice(one.lastIndexOf('/') + 1);
      const dropIns = [...others, { path, text }].sort((a, b) =>
        name(a.path) < name(b.path) ? -1 : 1,
      );
      change({ files: { [path]: regularFile(text) }, unit: { dropIns, needDaemonReload: false } });
    } else if (operation.op === 'install-unit') {
      const fragment = regularFile(operation.text);
      change({ unit: { fragmentPath: operation.path, fragment, needDaemonReload: false } });
    } else if (operation.op === 'start-sampler' || operation.op === 'stop-sampler') {
      change({ sampling: { sampling: operation.op === 'start-sampler' } });
    } else if (operation.op === 'enable-unit') {
      change({ unit: { unitFileState: 'enabled' } });
    } else if (operation.op === 'end-process') {
      const trees = operation.processes.map(({ pid }) => pid);
      change({
        workers: (after as DeployWorkerFacts).workers.filter(
          ({ pid, parentPid }) => !trees.includes(pid) && !trees.includes(parentPid),
        ),
      });
    } else if (operation.op === 'start-unit') {
      change({
        unit: startedUnit((after as DeployWorkerFacts).unit),
        code: { startedWithThese: true },
      });
    } else if (operation.op === 'prove-unit') {
      change({ unit: { properties: operation.properties } });
    }
  }
  expect(desired.unit).toBe((after as DeployWorkerFacts).unit.name);
  return after as DeployWorkerFacts;
}

function startedUnit(unit: DeployWorkerFacts['unit']): Record<string, unknown> {
  const text = unit.fragment.kind === 'file' ? (unit.fragment.text ?? '') : '';
  const whole = [text, ...unit.dropIns.map((dropIn) => dropIn.text)].join('\n');
  const exec = parseUnitFile(whole).value('Service', 'ExecStart') ?? '';
  const argv = parseExecLine(exec)?.[0]?.words.map((word) => word.text) ?? [];
  const main = {
    pid: 4711,
    parentPid: 1,
    state: 'S',
    user: 'root',
    residentBytes: 50 * MiB,
    argv,
    startTicks: 99_999,
  };
  return {
    activeState: 'active',
    subState: 'running',
    mainPid: 4711,
    processes: [main],
    activeSince: 2_000_000_000,
    properties: { ControlGroup: '/system.slice/celery-worker.service' },
  };
}

describe('a plan', () => {
  const before = readJson('hosts/before.json') as DeployWorkerFacts;

  it('is the same for the same facts', () => {
    expect(planDeployWorker(before, defaults)).toEqual(planDeployWorker(before, defaults));
  });

  it('requests the facts of the given unit', () => {
    expect(deployWorkerQuery({ ...defaults, unit: 'x.service' })).toMatchObject({
      unit: { name: 'x.service' },
      code: { unit: 'x.service' },
      files: {
        paths: [
          supportPath,
          '/etc/systemd/system/x.service.d/celeriac.conf',
          '/etc/systemd/system/x.service.d/zz-celeriac.conf',
        ],
      },
    });
  });

  it('does not overwrite a file that has changed', () => {
    const { fragment } = before.unit;
    const install = planDeployWorker(before, defaults).operations.find(
      ({ op }) => op === 'install-unit',
    );
    expect(fragment.kind === 'file' && fragment.sha256).toBeTruthy();
    expect(install).toMatchObject({
      expects: fragment.kind === 'file' ? fragment.sha256 : sha256Text(''),
    });
  });

  it.each([
    ['1min 30s', '2min', 240],
    ['1month 1h', '1min 30s', 2_629_800 + 3600 + 90 + 30],
    ['1y', '500ms', 31_557_600 + 1 + 30],
    ['infinity', 'infinity', 2 * 3600 + 30],
  ])('gives the undo the time-outs of the old unit: %s and %s', (stop, start, wait) => {
    const properties = { TimeoutStopUSec: stop, TimeoutStartUSec: start };
    const facts = overlay(before, { unit: { properties } }) as DeployWorkerFacts;
    const { operations } = planDeployWorker(facts, defaults);
    const undo = (verb: string) =>
      operations.flatMap((one) =>
        one.op === verb && 'undoTimeoutSeconds' in one ? [one.undoTimeoutSeconds] : [],
      );
    expect(undo('guard-unit')).toEqual([wait]);
    // The others are undone while the new unit is still in place.
    const stopping = defaults.longestTaskSeconds + 60 + 30;
    expect(undo('start-unit')).toEqual([stopping]);
    expect(undo('drain-worker')).toEqual([stopping]);
    expect(undo('stop-unit')).toEqual([stopping]);
  });

  it('tells the host how to recognize other workers of the app', () => {
    const restore = (real: string | null) => {
      const facts = overlay(before, { unit: { workingDirectory: real } }) as DeployWorkerFacts;
      const { operations } = planDeployWorker(facts, { ...defaults, restoreUnacked: true });
      return operations.find(({ op }) => op === 'restore-unacked');
    };
    expect(restore('/srv/releases/1')).toMatchObject({
      otherWorkers: { directory: '/srv/releases/1', command: workerCommand },
    });
    expect(restore(null)).toMatchObject({
      otherWorkers: { directory: before.unit.properties.WorkingDirectory },
    });
  });

  it('never names a process of the unit, or of another one', () => {
    const pids = planDeployWorker(before, defaults).operations.flatMap((one) =>
      one.op === 'end-process' ? one.processes.map(({ pid }) => pid) : [],
    );
    expect(pids).toHaveLength(3);
    const own = before.unit.processes.map(({ pid }) => pid);
    expect(pids.filter((pid) => own.includes(pid))).toEqual([]);
  });

  it('ends strays before the worker stops consuming, all at once', () => {
    const ops = planDeployWorker(before, defaults).operations.map(({ op }) => op);
    expect(ops.filter((op) => op === 'end-process')).toHaveLength(1);
    expect(ops.indexOf('end-process')).toBeLessThan(ops.indexOf('drain-worker'));
    expect(ops.indexOf('end-process')).toBeGreaterThan(ops.indexOf('try-app'));
  });

  it('neither ends nor waits for what another user starts', () => {
    const workers = before.workers.map((each) => ({ ...each, user: 'mallory' }));
    const plan = planDeployWorker({ ...before, workers }, defaults);
    expect(plan.operations.map(({ op }) => op)).not.toContain('end-process');
    expect(plan.findings).toContainEqual({
      level: 'notice',
      message: expect.stringMatching(
        /^skipped Celery processes .*: it runs as mallory, and celery-worker.service runs as root$/,
      ),
    });
  });
});
