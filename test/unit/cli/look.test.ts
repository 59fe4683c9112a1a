import { describe, expect, test } from 'vitest';
import { runCommand } from '../../../src/cli/celeriac.ts';
import { HostError } from '../../../src/model/errors.ts';
import type { LoggedFact } from '../../../src/model/facts/journal.ts';
import type { PastFact, PastTransaction, ReleasesFact } from '../../../src/model/facts/ledger.ts';
import type { FactQuery, FactsFor } from '../../../src/model/facts.ts';
import { formatInstant } from '../../../src/model/quantities.ts';
import type { SamplesFact } from '../../../src/model/sample.ts';
import { epochSeconds } from '../../../src/model/units.ts';
import type { Agent } from '../../../src/ports/agent.ts';
import { reportShape } from '../../../src/report/report-shape.ts';
import type { VerifyFacts } from '../../../src/verify/evidence.ts';
import { sampleAt } from '../../lib/sample-report.ts';
import { release } from '../use-case/simulated-soak.ts';
import { brokerFact, facts, loggedFact, now, unitFact } from '../verify/facts.ts';

interface Given {
  readonly changes?: Partial<VerifyFacts>;
  readonly logged?: Partial<LoggedFact>;
  readonly releases?: ReleasesFact['releases'];
  readonly awaiting?: ReleasesFact['awaiting'];
  readonly past?: Partial<PastFact>;
  readonly sampling?: boolean;
  /** Called before each look; throws what the host says. */
  readonly onLook?: (looks: number) => void;
  /** Instead of a host that answers. */
  readonly onOpen?: () => Promise<Agent>;
}

/** `celeriac …` against a host that answers each question. */
async function celeriac(words: readonly string[], given: Given = {}) {
  const said = { out: '', err: '', clears: 0 };
  const asked: string[] = [];
  const interrupt = new AbortController();
  let looks = 0;
  let page = 0;
  const samples = (): SamplesFact => {
    page += 1;
    const at = epochSeconds(now - 120 + page);
    return {
      samples: [sampleAt(0, { at })],
      cursor: { file: 'f', offset: page },
      more: false,
      restarted: false,
      sampling: given.sampling ?? true,
      soakSeconds: null,
      soakLimits: null,
    };
  };
  const agent = {
    clockSkew: null,
    async look<const Query extends FactQuery>(query: Query) {
      asked.push(`${Object.keys(query).join(' ')}${query.samples?.after == null ? '' : ' (on)'}`);
      if (query.host !== undefined) {
        looks += 1;
        given.onLook?.(looks);
      }
      return {
        ...facts({
          releases: {
            releases: given.releases ?? [],
            awaiting: given.awaiting ?? null,
            guarded: false,
          },
          ...given.changes,
        }),
        past: { working: null, open: [], ...given.past },
        consuming: { kind: 'consumes' },
        logged: loggedFact(given.logged),
        broker: brokerFact(),
        transactions: [],
        undoing: [],
        ...(query.samples !== undefined && { samples: samples() }),
      } as unknown as FactsFor<Query>;
    },
    submit: () => Promise.reject(new Error('a look sends nothing')),
    apply: () => Promise.reject(new Error('a look changes nothing')),
    close: async () => {},
    [Symbol.asyncDispose]: async () => {},
  } as unknown as Agent;
  const code = await runCommand(words, {
    terminal: {
      out: (text) => {
        said.out += text;
      },
      note: (line) => {
        said.err += `${line}\n`;
      },
      clear: () => {
        said.clears += 1;
      },
    },
    interrupted: interrupt.signal,
    person: { name: 'nika', uid: 1000 },
    openAgent: given.onOpen ?? (async () => agent),
  });
  return { code, asked, ...said };
}

const noUnit = {
  changes: {
    unit: unitFact({ name: 'nope.service', loadState: 'not-found', activeState: 'inactive' }),
    journal: { ...facts().journal, tail: [] },
  },
};

const hostile = '\u001b]0;owned\u0007\u001b[31mred\u202e ::error::x ##[group]y';

describe('celeriac status', () => {
  test('shows the worker on a screen, sends no job and reads no tables', async () => {
    const { code, out, asked } = await celeriac(['status'], {
      releases: [release(0), release(1)],
    });
    expect(code).toBe(0);
    expect(out).toContain('celery-worker.service on ');
    expect(out).toMatch(/^Healthy: /m);
    expect(out).toContain('memory   212 MiB, peak 300 MiB, MemoryHigh 600 MiB, MemoryMax 800 MiB');
    expect(out).toMatch(/^release {2}1 \(/m);
    expect(out).toMatch(/^✓ \d+ passed: celery-worker|^✓ \d+ passed: unit/m);
    expect(out.split('\n').length).toBeLessThan(40);
    expect(asked.some((line) => /stores|tasks/.test(line))).toBe(false);
  });

  test('an unhealthy one says what is wrong, and what to do, with an exit code of its own', async () => {
    const { code, out } = await celeriac(['status', '--max-restarts', '0'], {
      changes: { unit: unitFact({ properties: { ...unitFact().properties, NRestarts: '3' } }) },
    });
    expect(code).toBe(3);
    expect(out).toMatch(/^✗ .*3.*\(expected none\)\n {4}next: /m);
  });

  test('--json prints the published report', async () => {
    const { code, out } = await celeriac(['status', '--json']);
    expect(code).toBe(0);
    const report = JSON.parse(out);
    expect(reportShape.strict().safeParse(report).error).toBeUndefined();
    expect(report).toMatchObject({
      verdict: { conclusion: 'healthy' },
      by: { actor: 'nika' },
      probes: null,
      timeline: { samples: 1 },
    });
  });

  test.each(['status', 'doctor', 'releases', 'logs'])(
    '%s --json prints one document also where the host cannot be reached',
    async (command) => {
      const gone = new HostError('gone', { step: 'connect', evidence: [], next: '' });
      const { code, out, err } = await celeriac([command, '--json'], {
        onOpen: () => Promise.reject(gone),
      });
      expect(code).toBe(1);
      const error = { kind: 'host', message: 'gone', step: 'connect' };
      expect(JSON.parse(out)).toMatchObject({ command, exitCode: 1, results: [], error });
      expect(err).toContain(`${command}: gone`);
    },
  );

  test('--json names flags, as the message does', async () => {
    const { out, err } = await celeriac(['status', '--json', '--max-restarts', 'many']);
    expect(JSON.parse(out).error.where).toBe('--max-restarts');
    expect(err).toContain('where: --max-restarts');
  });

  test('--json prints nothing where the flags cannot be read', async () => {
    const { code, out } = await celeriac(['status', '--json', '--max-restart', '1']);
    expect([code, out]).toEqual([2, '']);
  });

  test('--watch looks again, and reads only the samples that are new', async () => {
    const { code, out, asked, clears } = await celeriac(['status', '--watch', '--every', '1s'], {
      onLook: (looks) => {
        if (looks > 2) throw new HostError('gone', { step: 'look', evidence: [], next: '' });
      },
    });
    expect(code).toBe(1);
    expect(clears).toBe(2);
    expect(out.match(/^Healthy: /gm)).toHaveLength(2);
    expect(asked.filter((line) => line.startsWith('samples'))).toEqual(['samples', 'samples (on)']);
  });

  test('--watch --json prints one line for each look', async () => {
    const { out, clears } = await celeriac(['status', '--watch', '--json', '--every', '1s'], {
      onLook: (looks) => {
        if (looks > 2) throw new HostError('gone', { step: 'look', evidence: [], next: '' });
      },
    });
    const lines = out.trim().split('\n');
    expect(lines).toHaveLength(2);
    expect(JSON.parse(lines[1] ?? '').timeline.samples).toBe(2);
    expect(clears).toBe(0);
  });

  test('what the host says does not control the terminal', async () => {
    const { out } = await celeriac(['status'], {
      changes: { unit: unitFact({ subState: hostile }) },
    });
    expect(out).not.toMatch(/\p{Cc}(?<!\n)|\u202e|##\[/u);
    expect(out).toContain('red ::error::x');
  });

  test.each([
    [['status', '--every', '5s'], '`--every` requires `--watch`'],
    [['status', '--gate', 'http'], 'unknown flag `--gate`'],
    [['status', '--dry-run'], 'unknown flag `--dry-run`'],
  ])('%j is refused', async (words, problem) => {
    const { code, err, asked } = await celeriac(words);
    expect(code).toBe(2);
    expect(err).toContain(problem);
    expect(asked).toEqual([]);
  });
});

describe('a release that awaits its verdict', () => {
  const waiting = {
    releases: [release(0), release(1, { state: 'awaiting', verdict: 'none' })],
    awaiting: { transactions: [release(1).transaction ?? ''], deadline: epochSeconds(now + 600) },
  };

  test.each(['status', 'releases'])('%s says until when, and what to do', async (command) => {
    const { out, err } = await celeriac([command], waiting);
    const by = formatInstant(epochSeconds(now + 600));
    expect(out).toContain(`rolled back by the host at ${by} unless \`verify\` confirms it`);
    expect(err).toContain('next: celeriac verify --unit celery-worker.service');
  });

  test('is told to programs, by the published report', async () => {
    const report = JSON.parse((await celeriac(['status', '--json'], waiting)).out);
    expect(reportShape.strict().safeParse(report).error).toBeUndefined();
    expect(report.releases[0].confirmBy).toBe(now + 600);
    expect((await celeriac(['releases', '--json'], waiting)).err).not.toContain('next:');
  });
});

describe('celeriac status in between', () => {
  test('says that a transaction is at work', async () => {
    const open = [{ action: 'deploy-worker', unit: 'celery-worker.service' } as PastTransaction];
    const { out } = await celeriac(['status'], { past: { working: 'run 9', open } });
    expect(out).toContain(
      'run 9 is working on this host (deploy-worker of celery-worker.service): run this again once it has ended',
    );
    expect((await celeriac(['status'])).out).not.toContain('at work');
  });

  test('promises no proof by samples that nobody takes', async () => {
    const releases = [release(0), release(1)];
    const { out } = await celeriac(['status'], { releases, sampling: false });
    expect(out).not.toContain('of 24 h');
    expect(out).toMatch(/^proof {4}none: the release stays unproven/m);
    expect((await celeriac(['status'], { releases })).out).toContain('of 24 h');
  });
});

describe('celeriac releases', () => {
  const all = [release(0), release(1, { state: 'proven', soakWhy: 'no failure' }), release(2)];

  test('lists them, newest first, with what they have proven', async () => {
    const { code, out } = await celeriac(['releases'], { releases: all });
    expect(code).toBe(0);
    const lines = out.trim().split('\n');
    expect(lines.map((line) => line.split(/[ ,]/)[0])).toEqual(['2', '1', '0']);
    expect(lines[1]).toMatch(/, proven since .*: no failure$/);
    expect(lines[2]).toMatch(/before Celeriac$/);
  });

  test('as JSON', async () => {
    const { out } = await celeriac(['releases', '--json'], { releases: all });
    expect(JSON.parse(out)).toMatchObject([
      { release: 2, state: 'unproven' },
      { release: 1, state: 'proven' },
      { release: 0, state: 'before' },
    ]);
  });

  test.each(['releases', 'logs', 'status'])(
    '%s of a unit that is not there says so',
    async (command) => {
      const { code, out, err } = await celeriac([command, '--json', '--unit', 'nope'], noUnit);
      expect(code).toBe(2);
      const message = 'nope.service: no such unit on the host';
      expect(JSON.parse(out)).toMatchObject({ exitCode: 2, error: { message, where: '--unit' } });
      expect(err).toContain(message);
    },
  );

  test('of a unit that was removed are still listed, as is what it logged', async () => {
    const { code, out } = await celeriac(['releases'], { ...noUnit, releases: all });
    expect([code, out.trim().split('\n').length]).toEqual([0, 3]);
    expect((await celeriac(['logs'], { ...noUnit, releases: all })).code).toBe(0);
    const changes = { ...noUnit.changes, journal: { ...facts().journal, tail: ['one'] } };
    const logged = await celeriac(['logs'], { changes });
    expect(logged.code).toBe(0);
    expect(logged.out).toContain('one');
  });

  test('none is a sentence', async () => {
    expect((await celeriac(['releases'])).out).toBe(
      'none: Celeriac has not deployed this worker\n',
    );
  });
});

describe('celeriac logs', () => {
  const signature = {
    signature: 'KeyError at tasks.py in link',
    count: 3,
    first: epochSeconds(now - 500),
    last: epochSeconds(now - 100),
    sample: 'KeyError: "slides" at redis://:hunter2@db/0',
    before: 0,
  };
  const logged = {
    errors: 3,
    tracebacks: 3,
    signatures: [signature],
    dropped: 7,
    numbered: [
      {
        sample: 'HTTP/1.1" 429 Too Many Requests',
        count: 2,
        first: epochSeconds(now - 60),
        last: epochSeconds(now - 50),
        minutes: [{ at: epochSeconds(now - 60), count: 2 }],
      },
    ],
  };
  const changes = {
    journal: {
      since: epochSeconds(now - 960),
      entries: 9,
      suspects: [],
      tail: ['one', hostile],
      ends: [],
      endedRuns: [],
    },
  };

  test('groups the errors, names what is new, and hides secrets', async () => {
    const { code, out } = await celeriac(['logs'], { logged, changes });
    expect(code).toBe(0);
    expect(out).toContain('journald dropped 7 lines');
    expect(out).toMatch(/^3 errors \(3 tracebacks\), HTTP 429: 2, 2 in the minute from /m);
    expect(out).toContain('3 × KeyError at tasks.py in link, new since this release');
    expect(out).toContain('redis://:***@db/0');
    expect(out).toContain('last lines:\n  one\n  red');
    expect(out).not.toMatch(/hunter2|\p{Cc}(?<!\n)|\u202e|##\[/u);
  });

  test('as JSON', async () => {
    const { out } = await celeriac(['logs', '--json'], { logged, changes });
    expect(JSON.parse(out)).toMatchObject({
      errors: 3,
      dropped: 7,
      signatures: [{ count: 3, before: 0 }],
      rateLimited: { count: 2, busiest: { count: 2 } },
    });
    expect(out).not.toContain('hunter2');
  });
});
