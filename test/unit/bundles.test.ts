import { execFile } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { openDatabase } from '../../src/adapters/sqlite-native.ts';
import { openSqliteStore, storeProgram } from '../../src/adapters/sqlite-store.ts';
import { type ActionName, actions } from '../../src/config/action-inputs.ts';
import type { FactName } from '../../src/model/facts.ts';
import { type BundleRun, runBundle } from '../lib/bundle.ts';
import { CommentsApi } from '../lib/comments-api.ts';
import { IssuesApi } from '../lib/issues-api.ts';
import { factsForSwap, saidFact } from '../lib/real-facts.ts';
import { type FakeAsk, fakeAgent, KEYS, TestServer } from './adapters/ssh-server.ts';

const names = Object.keys(actions) as ActionName[];
let key = '';
let knownHosts = '';
let closedPort = 0;

beforeAll(async () => {
  const run = promisify(execFile);
  const made = await run('bash', [
    '-c',
    'd=$(mktemp -d) && ssh-keygen -q -t ed25519 -N "" -f $d/k && cat $d/k && echo @@ && cat $d/k.pub && rm -r $d',
  ]);
  const [secret = '', open = ''] = made.stdout.split('@@\n');
  key = secret;
  closedPort = await unusedPort();
  knownHosts = `[127.0.0.1]:${closedPort} ${open}`;
});

/** A port on loopback that refuses: it was free a moment ago. */
function unusedPort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

const inputs = (more: Record<string, string>): Record<string, string> => ({
  host: '127.0.0.1',
  port: String(closedPort),
  'ssh-key': key,
  'known-hosts': knownHosts,
  ...more,
});

describe.each(names)('%s, as its committed bundle', (action) => {
  it('says what is missing, in one annotation and no stack trace', async () => {
    const run = await runBundle(action, {});
    expect(run.code).toBe(1);
    expect(run.log).toContain(`${action}: missing \`host\``);
    expect(run.log.match(/^::error/gm)).toHaveLength(1);
    expect(run.log).not.toMatch(/^\s+at .*\(.*:\d+:\d+\)/m);
    expect(run.summary).toContain(`${action} failed`);
  });

  it('names an invalid input and what it expects', async () => {
    const run = await runBundle(action, inputs({ port: 'ssh' }));
    expect(run.code).toBe(1);
    expect(run.log).toContain('input port');
    expect(run.log).toContain('an integer from 1 to 65535');
  });

  it('stops at an invalid key, and does not show it', async () => {
    const run = await runBundle(action, inputs({ 'ssh-key': 'not-a-key-but-secret' }));
    expect(run.code).toBe(1);
    expect(run.log).toContain('input ssh-key');
    expect(run.log.replaceAll(/^::add-mask::.*$/gm, '')).not.toContain('not-a-key-but-secret');
  });

  it('stops if no host key is pinned', async () => {
    const run = await runBundle(action, inputs({ 'known-hosts': '# none\n' }));
    expect(run.code).toBe(1);
    expect(run.log).toContain('known-hosts');
    expect(run.log).toContain('ssh-keyscan');
  });

  it('reads the fleet file, and names file, line and column of an error', async () => {
    const run = await runBundle(action, inputs({ 'fleet-file': 'missing.yml' }));
    expect(run.code).toBe(1);
    expect(run.log).toContain('cannot read `missing.yml`');
  });
});

describe('a bundle loads no more than it needs', () => {
  const read = (program: string, file: string) =>
    readFileSync(join(import.meta.dirname, '../..', program, 'dist', file), 'utf8');
  const megabyte = 1_000_000;

  it.each([...names.map((name) => `actions/${name}`), 'actions/fleet', 'cli'])(
    '%s has no HTTP client of its own, and no Temporal',
    (program) => {
      const licenses = read(program, 'licenses.txt').split('\n');
      for (const each of ['undici', '@actions/http-client', '@js-temporal/polyfill']) {
        expect(licenses).not.toContain(each);
      }
      const code = read(program, program === 'cli' ? 'celeriac.js' : 'index.js');
      expect(code).not.toMatch(/require\("(?:node:)?https?"\)/);
    },
  );

  it.each([
    ['provision', 3.1],
    ['deploy-worker', 3.7],
    ['cleanup', 3.5],
    ['verify', 3.9],
    ['fleet', 1.1],
  ])('%s has at most %f MB', (action, most) => {
    expect(read(`actions/${action}`, 'index.js').length / megabyte).toBeLessThan(most);
  });

  // Its schemas have all methods; a few hundred of them are made at each start.
  it.each(names)('%s has only the small API of zod', (action) => {
    expect(read(`actions/${action}`, 'index.js')).not.toContain('zod/v4/classic');
  });
});

describe('what the bundles leave out', () => {
  it('is used by no source: the OIDC token of @actions/core needs an HTTP client', () => {
    const sources = globSync(['src/**/*.ts', 'actions/*/*.ts', 'cli/*.ts'], {
      exclude: ['src/generated/**'],
    });
    expect(sources.length).toBeGreaterThan(100);
    const users = sources.filter((file) => readFileSync(file, 'utf8').includes('getIDToken'));
    expect(users, 'bundle it with its HTTP client: `withoutHttp` in tools/bundle.ts').toEqual([]);
  });
});

describe('soak-issue, as its committed bundle', () => {
  const failed = {
    version: 1,
    unit: 'celery-worker.service',
    state: 'failed',
    sentence: 'Release 7: Failed after 7 h.',
    release: {
      number: 7,
      transaction: '20260111T000000-0007',
      sha: '',
      actor: 'anna',
      since: 1_768_734_000,
    },
    verdict: null,
    comparison: null,
    rolledBackTo: null,
    by: 'https://forge.test/someone/slideshow/actions/runs/4711',
  };

  it('opens an issue, and gives its address', async () => {
    await using api = await IssuesApi.open();
    const given = { 'github-token': api.token, 'soak-report': JSON.stringify(failed) };
    const run = await runBundle('soak-issue', given, { env: { GITHUB_API_URL: api.url } });
    expect(run.code, run.log).toBe(0);
    expect(api.requests.map(({ path }) => path)).toEqual([
      '/graphql',
      '/repos/someone/slideshow/issues',
    ]);
    expect(run.outputs.issue).toBe('https://forge.test/someone/slideshow/issues/1');
  });

  it('says what is missing, in one annotation', async () => {
    const run = await runBundle('soak-issue', {});
    expect(run.code).toBe(1);
    expect(run.log).toContain('soak-issue: missing `github-token`');
    expect(run.log.match(/^::error/gm)).toHaveLength(1);
  });
});

describe('plan-comment, as its committed bundle', () => {
  it('writes a comment by GraphQL and REST, and the job summary', async () => {
    await using api = await CommentsApi.open();
    const folder = mkdtempSync(join(tmpdir(), 'celeriac-event-'));
    try {
      const event = join(folder, 'event.json');
      const pull = { number: 7, head: { sha: 'c'.repeat(40) }, base: { ref: 'main' } };
      writeFileSync(event, JSON.stringify({ pull_request: pull }));
      const run = await runBundle(
        'plan-comment',
        { 'github-token': api.token, plans: folder },
        { env: { GITHUB_API_URL: api.url, GITHUB_EVENT_PATH: event } },
      );
      expect(run.code, run.log).toBe(0);
      expect(api.comments[0]?.body).toContain('There is no plan');
      expect(run.summary).toContain('There is no plan');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('says what is missing, in one annotation', async () => {
    const run = await runBundle('plan-comment', {});
    expect(run.code).toBe(1);
    expect(run.log).toContain('plan-comment: missing `github-token`');
    expect(run.log.match(/^::error/gm)).toHaveLength(1);
  });
});

describe('an unreachable host', () => {
  it('is tried again, then reported with what to do', { timeout: 60_000 }, async () => {
    const run = await runBundle('provision', inputs({}));
    expect(run.code).toBe(1);
    expect(run.log).toContain(`127.0.0.1:${closedPort}`);
    expect(run.log).toMatch(/refused/i);
    expect(run.outputs).toEqual({});
  });
});

describe('a report that cannot be written', () => {
  const facts = factsForSwap();
  const answers: Readonly<Record<string, (ask: FakeAsk) => unknown>> = {
    look: ({ query }) =>
      Object.fromEntries(
        Object.entries(facts).filter(([name]) => Object.hasOwn(query as object, name)),
      ),
    apply: () => ({ transaction: '20261122T131500-4f2a', result: 'committed', steps: [] }),
  };

  /** Provisions a host on loopback, which commits. */
  async function provision(env: Readonly<Record<string, string>>) {
    const script = fakeAgent({
      onAsk: (ask, agent) => agent.say({ id: ask.id, answer: answers[ask.ask]?.(ask) }),
    });
    await using server = await TestServer.start({ onExec: script });
    const { host, port, user, knownHosts: pinned } = server.target();
    const login = { 'ssh-key': KEYS.login.private, 'known-hosts': pinned };
    return await runBundle('provision', { host, port: `${port}`, user, ...login }, { env });
  }

  it('is written if possible, without a warning', async () => {
    const run = await provision({});
    expect(run.log).not.toContain('could not write');
    expect(run.outputs).toEqual({ changed: 'true', transaction: '20261122T131500-4f2a' });
    expect(run.summary).toContain('transaction 20261122T131500-4f2a');
    expect(run.code).toBe(0);
  });

  it.each([
    ['an absent summary', { GITHUB_STEP_SUMMARY: '/nowhere/summary' }, ['the job summary']],
    ['a summary that is a folder', { GITHUB_STEP_SUMMARY: '/' }, ['the job summary']],
    ['absent outputs', { GITHUB_OUTPUT: '/nowhere/output' }, ['`changed`', '`transaction`']],
    [
      'nothing that can be written',
      { GITHUB_STEP_SUMMARY: '/nowhere/summary', GITHUB_OUTPUT: '/' },
      ['`changed`', '`transaction`', 'the job summary'],
    ],
  ])('%s is one warning, and does not change the result', async (_, env, unwritten) => {
    const run = await provision(env);
    expect(run.log).toContain('Done: ');
    const warnings = run.log.match(/^::warning.*could not write.*$/gm) ?? [];
    expect(warnings).toHaveLength(1);
    for (const each of unwritten) expect(warnings[0]).toContain(each);
    expect(run.log).not.toMatch(/^\s+at .*:\d+:\d+/m);
    expect(run.code).toBe(0);
  });
});

describe('a job summary that cannot be written', () => {
  const places = { absent: '/nowhere/summary', 'a folder': '/', 'not set': '' };
  type Place = keyof typeof places;
  const healthy = JSON.parse(
    readFileSync(
      join(import.meta.dirname, 'plan/fixtures/deploy-worker/hosts/healthy.json'),
      'utf8',
    ),
  ) as Record<string, unknown>;

  /** What a plan does not need is not in the fixture. */
  const fill = (real: unknown, own: unknown): unknown => {
    const areObjects = [real, own].every(
      (each) => typeof each === 'object' && each !== null && !Array.isArray(each),
    );
    if (!areObjects) return own === undefined ? real : own;
    const [from, to] = [real as Record<string, unknown>, own as Record<string, unknown>];
    const names = Object.keys({ ...from, ...to });
    return Object.fromEntries(names.map((name) => [name, fill(from[name], to[name])]));
  };
  const factOf = (name: FactName): unknown =>
    name === 'files'
      ? healthy[name]
      : fill(saidFact(name), name === 'swap' ? undefined : healthy[name]);

  /** A host that is as desired, for whatever it is asked; anything but looks is refused. */
  const host = fakeAgent({
    onAsk: (ask, agent) => {
      const query = Object.keys((ask.query as object | undefined) ?? {}) as FactName[];
      const facts = query.map((name) => [name, factOf(name)]);
      if (ask.ask === 'look') agent.say({ id: ask.id, answer: Object.fromEntries(facts) });
      else agent.say({ id: ask.id, fault: { message: `the host refuses ${ask.ask}` } });
    },
  });

  async function run(action: ActionName, own: Record<string, string>, summary?: string) {
    await using server = await TestServer.start({ onExec: host });
    const { host: name, port, user, knownHosts: pinned } = server.target();
    const login = { 'ssh-key': KEYS.login.private, 'known-hosts': pinned };
    const env = summary === undefined ? {} : { GITHUB_STEP_SUMMARY: summary };
    return await runBundle(
      action,
      { host: name, port: `${port}`, user, ...login, ...own },
      { env },
    );
  }

  /** Each run has a folder of its own. */
  const comparable = ({ outputs: { 'plan-path': path, ...others } }: BundleRun) => ({
    ...others,
    hasPlan: path !== undefined,
  });

  type Case = readonly [ActionName, own: Record<string, string>, code: number];
  const first: Case = ['provision', {}, 1];
  const others: readonly Case[] = [
    ['deploy-worker', { 'dry-run': 'true' }, 0],
    ['cleanup', { database: 'none', 'dry-run': 'true' }, 0],
    ['cleanup', { unit: 'gone.service', database: '/gone.db' }, 1],
    ['verify', { gate: 'none' }, 1],
  ];

  async function expectSameEnd([action, own, code]: Case, kinds: readonly Place[]): Promise<void> {
    const usual = await run(action, own);
    expect(`exit ${usual.code}: ${usual.log}`).toContain(`exit ${code}: `);
    expect(usual.summary).not.toBe('');
    const errors = (log: string): readonly string[] => log.match(/^::error.*$/gm) ?? [];
    for (const kind of kinds) {
      const path = places[kind];
      const other = await run(action, own, path);
      expect([kind, other.code, comparable(other)]).toEqual([kind, code, comparable(usual)]);
      expect(errors(other.log)).toEqual(errors(usual.log));
      const warnings = other.log.match(/^::warning.*could not write the job summary.*$/gm) ?? [];
      expect([kind, warnings.length]).toEqual([kind, path === '' ? 0 : 1]);
      expect(other.log).not.toMatch(/^\s+at .*:\d+:\d+/m);
    }
  }

  it('provision ends as with one, whatever is in its place', { timeout: 120_000 }, () =>
    expectSameEnd(first, ['absent', 'a folder', 'not set']),
  );

  it.each(others)('%s with %o ends as with one', { timeout: 120_000 }, (...each) =>
    expectSameEnd(each, ['absent']),
  );

  it.each(others)(
    '%s with %o ends as with one, whatever is in its place',
    { timeout: 120_000, tags: ['nightly'] },
    (...each) => expectSameEnd(each, ['a folder', 'not set']),
  );
});

describe('the process that opens a copy of a database', () => {
  const programs = ['actions/cleanup', 'actions/deploy-worker', 'actions/verify', 'cli'];

  it.each(programs)('is the bundle of %s, which then does nothing else', async (program) => {
    const before = storeProgram.path;
    storeProgram.path = join(import.meta.dirname, '../..', program, 'dist/index.js');
    const folder = mkdtempSync(join(tmpdir(), 'celeriac-bundle-'));
    try {
      const database = openDatabase(join(folder, 'app.db'));
      database.exec("CREATE TABLE jobs (id TEXT); INSERT INTO jobs VALUES ('a')");
      const content = database.serialize();
      database.close();
      using store = await openSqliteStore('/srv/app.db', content, folder);
      const rows = await store.readRows('jobs', ['id']);
      expect(rows.map((row) => ({ ...row }))).toEqual([{ id: 'a' }]);
    } finally {
      storeProgram.path = before;
      rmSync(folder, { recursive: true });
    }
  });
});
