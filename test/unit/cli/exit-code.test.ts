import { describe, expect, test } from 'vitest';
import { runCommand } from '../../../src/cli/celeriac.ts';
import type { CommandTools } from '../../../src/cli/command.ts';
import { HostError } from '../../../src/model/errors.ts';
import type { Operation } from '../../../src/model/operation.ts';
import type { Outcome } from '../../../src/model/outcome.ts';
import { seconds } from '../../../src/model/units.ts';
import type { Agent } from '../../../src/ports/agent.ts';
import { AppDatabase, agentOf, bySqlite, day, path } from '../jobs/app-database.ts';

type Apply = (operations: readonly Operation[]) => Outcome | Promise<Outcome>;

const committed = (changed: number, skipped: readonly object[] = []): Outcome => ({
  transaction: '20260118T150000-4f2a',
  result: 'committed',
  steps: [
    {
      index: 1,
      op: 'repair-jobs',
      status: 'done',
      message: '',
      seconds: seconds(0),
      result: { changed, skipped },
    },
  ],
});

const undone: Outcome = {
  transaction: '20260118T150000-4f2a',
  result: 'undone',
  steps: [],
  failure: { index: 1, message: 'the disk is full' },
};

/** A host with one database, in which one job is stuck unless it is to be empty. */
class Host implements Disposable {
  readonly database = new AppDatabase();
  readonly applied: (readonly Operation[])[] = [];
  readonly interrupt = new AbortController();
  closed = 0;
  readonly #apply: Apply;

  constructor(apply: Apply = () => committed(1), { empty = false } = {}) {
    this.#apply = apply;
    if (!empty) {
      this.database.add('jobs', {
        id: 'stuck-one',
        status: 'processing',
        created_at: bySqlite(day),
      });
    }
  }

  agent(): Agent {
    const known = agentOf([this.database.fact()], { [path]: this.database.content() });
    const close = async () => {
      this.closed += 1;
    };
    return {
      ...known,
      apply: async (operations: readonly Operation[]) => {
        this.applied.push(operations);
        return this.#apply(operations);
      },
      close,
      [Symbol.asyncDispose]: close,
    } as unknown as Agent;
  }

  async run(words: readonly string[], more: Partial<CommandTools> = {}) {
    let out = '';
    let err = '';
    const code = await runCommand(['cleanup', '--database', path, '--evidence', 'age', ...words], {
      terminal: {
        out: (text) => {
          out += text;
        },
        note: (line) => {
          err += `${line}\n`;
        },
      },
      interrupted: this.interrupt.signal,
      person: { name: 'root', uid: 0 },
      openAgent: async () => this.agent(),
      ...more,
    });
    return { code, out, err };
  }

  [Symbol.dispose](): void {
    this.database[Symbol.dispose]();
  }
}

const atOnce = ['--confirm-after', 'off'];

describe('the exit code', () => {
  test('0: everything is repaired, and the agent has exited', async () => {
    using host = new Host();
    const { code, out } = await host.run(atOnce);
    expect([code, host.applied.length, host.closed]).toEqual([0, 1, 1]);
    expect(out).toContain('transaction 20260118T150000-4f2a');
  });

  test('0: there is nothing to repair, and nothing is sent to the host', async () => {
    using host = new Host(undefined, { empty: true });
    const { code } = await host.run(atOnce);
    expect([code, host.applied.length]).toEqual([0, 0]);
  });

  test('1: the transaction was undone', async () => {
    using host = new Host(() => undone);
    const { code, err } = await host.run(atOnce);
    expect(code).toBe(1);
    expect(err).toContain('the disk is full');
  });

  test('1: the host cannot be reached', async () => {
    using host = new Host();
    const gone = new HostError('no route.', { step: 'connect', next: 'run again' });
    const { code, err } = await host.run(atOnce, { openAgent: () => Promise.reject(gone) });
    expect(code).toBe(1);
    expect(err).toContain('no route');
  });

  test('2: users other than root may only look, which is reported first', async () => {
    using host = new Host();
    const person = { name: 'alice', uid: 1000 };
    const { code, err } = await host.run(atOnce, { person });
    expect([code, host.closed]).toEqual([2, 0]);
    expect(err).toContain('alice is not root; only root can make changes');
    expect((await host.run([...atOnce, '--dry-run'], { person })).code).toBe(3);
    expect((await host.run([...atOnce, '--sudo'], { person })).code).toBe(0);
  });

  test('3: a dry run found something, and changed nothing', async () => {
    using host = new Host();
    const { code, out } = await host.run(['--dry-run']);
    expect([code, host.applied.length]).toEqual([3, 0]);
    expect(out).toContain('stuck-one');
  });

  test('4: a row was skipped', async () => {
    const skipped = [{ table: 'jobs', id: 'stuck-one', why: 'has changed' }];
    using host = new Host(() => committed(0, skipped));
    const { code, err } = await host.run(atOnce);
    expect(code).toBe(4);
    expect(err).toContain('skipped 1 row: jobs stuck-on');
  });
});

describe('when interrupted, it exits with 130', () => {
  test('before anything has begun', async () => {
    using host = new Host();
    host.interrupt.abort();
    const { code } = await host.run(atOnce);
    expect([code, host.applied.length]).toEqual([130, 0]);
  });

  test('while it logs in: a late connection is closed', async () => {
    using host = new Host();
    const late = Promise.withResolvers<Agent>();
    const running = host.run(atOnce, { openAgent: () => late.promise });
    host.interrupt.abort();
    expect((await running).code).toBe(130);
    late.resolve(host.agent());
    await expect.poll(() => host.closed, { timeout: 10_000 }).toBe(1);
    expect(host.applied).toEqual([]);
  });

  test('while it waits for the second look', async () => {
    using host = new Host();
    const running = host.run(['--confirm-after', '10m']);
    setTimeout(() => host.interrupt.abort(), 200);
    expect((await running).code).toBe(130);
    expect(host.applied).toEqual([]);
    expect(host.closed).toBeGreaterThan(0);
  });

  test('while the host works, which continues', async () => {
    const lost = Promise.withResolvers<Outcome>();
    using host = new Host(() => lost.promise);
    const running = host.run(atOnce);
    await expect.poll(() => host.applied.length, { timeout: 10_000 }).toBe(1);
    host.interrupt.abort();
    lost.reject(new HostError('closed.', { step: 'apply', next: 'run again' }));
    const { code, err } = await running;
    expect(code).toBe(130);
    expect(err).toContain('work that has begun on the host continues there until it is done');
  });
});

describe('output', () => {
  test('as JSON is one document, even if everything was undone', async () => {
    using host = new Host(() => undone);
    const { code, out } = await host.run([...atOnce, '--json']);
    expect(code).toBe(1);
    expect(JSON.parse(out)).toMatchObject({
      databases: [path],
      found: 1,
      repaired: 0,
      result: 'undone',
      transaction: null,
      rows: [{ database: path, table: 'jobs', id: 'stuck-one', status: 'processing' }],
    });
  });

  test('as JSON contains the transaction and the skipped rows', async () => {
    const skipped = [{ table: 'jobs', id: 'stuck-one', why: 'has changed' }];
    using host = new Host(() => committed(2, skipped));
    const { out } = await host.run([...atOnce, '--json']);
    expect(JSON.parse(out)).toMatchObject({
      repaired: 2,
      transaction: '20260118T150000-4f2a',
      findings: [{ level: 'warning', message: expect.stringContaining('skipped') }],
    });
  });

  test('contains no terminal escapes', async () => {
    const skipped = [{ table: 'jobs', id: 'stuck-one', why: 'is \u001b]0;owned\u0007\u001b[2J' }];
    using host = new Host(() => committed(0, skipped));
    const { err } = await host.run(atOnce);
    expect(err).not.toContain('\u001b');
  });
});
