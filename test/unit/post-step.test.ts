import { type ChildProcess, execFile } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { type ActionName, actions } from '../../src/config/action-inputs.ts';
import { type BundleRun, runBundle, runPostStep } from '../lib/bundle.ts';
import { factsForSwap } from '../lib/real-facts.ts';
import { fakeAgent, KEYS, publicPart, TestServer } from './adapters/ssh-server.ts';

/*
 * The post steps, as their committed bundles: what they say of a host on loopback after a run that was
 * cancelled or killed.
 */

const names = Object.keys(actions) as ActionName[];
const root = join(import.meta.dirname, '../..');
const ident = '20261122T131500-4f2a';
const holder = 'https://forge.test/someone/slideshow/actions/runs/4711';
const open = {
  id: ident,
  action: 'provision',
  holder,
  unit: null,
  startedAt: 1_795_353_300,
  state: 'open',
  undoneBy: '',
  undoneWhy: '',
};
const facts = factsForSwap();

/** A host that begins what it is asked to do, and takes its time; it keeps what it was asked. */
async function host() {
  const asked: string[] = [];
  let begun = (): void => {};
  const hasBegun = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const atWork = { ...(facts.past as object), open: [open], working: `${holder} (provision)` };
  const script = fakeAgent({
    onAsk: ({ id, ask, query }, agent) => {
      asked.push(ask);
      if (ask === 'apply') {
        agent.say({ id, progress: { kind: 'opened', transactions: [ident], live: ident } });
        setTimeout(begun, 300);
        return;
      }
      const known: Readonly<Record<string, unknown>> = asked.includes('apply')
        ? { ...facts, past: atWork, transactions: [open] }
        : facts;
      const wanted = Object.keys(query as object);
      agent.say({ id, answer: Object.fromEntries(wanted.map((name) => [name, known[name]])) });
    },
  });
  const server = await TestServer.start({ onExec: script });
  const { host: name, port, user, knownHosts } = server.target();
  const login = { 'ssh-key': KEYS.login.private, 'known-hosts': knownHosts };
  return { asked, hasBegun, server, inputs: { host: name, port: `${port}`, user, ...login } };
}

/** Provisions the host, and is sent a signal in the middle of it. */
async function cutOff(
  signal: NodeJS.Signals,
  { hasBegun, inputs }: Awaited<ReturnType<typeof host>>,
) {
  let child: ChildProcess | undefined;
  const onStart = (started: ChildProcess): void => {
    child = started;
  };
  const running = runBundle('provision', inputs, { onStart });
  await hasBegun;
  child?.kill(signal);
  const run = await running;
  expect(run.code).toBe(null);
  return run;
}

const secrets = (run: BundleRun): string =>
  [JSON.stringify(run.state), run.log.replaceAll(/^::add-mask::.*$/gm, ''), run.summary].join('\n');

describe('after a run that was cut off', () => {
  it.each(['SIGINT', 'SIGKILL'] as const)(
    'by %s, says in which state the host is',
    async (signal) => {
      const place = await host();
      await using _ = place.server;
      const run = await cutOff(signal, place);
      expect(run.log).not.toContain('interrupted');
      const before = place.asked.length;
      const post = await runPostStep('provision', place.inputs, run);
      expect(post.code, post.log).toBe(0);
      expect(post.log).toContain(
        'provision was interrupted before it could report; the state of 127.0.0.1 after it:',
      );
      expect(post.log).toMatch(
        new RegExp(
          `^ {2}transaction: ${ident} of .* \\(provision\\) is in progress, .*until it is committed or undone$`,
          'm',
        ),
      );
      expect(post.log.match(/^::(?:warning|error).*$/gm)).toEqual([
        expect.stringMatching(
          /^::warning title=provision was interrupted::.* next: nothing needs to be done/,
        ),
      ]);
      expect(post.summary).toContain('### provision was interrupted');
      // It looks, and that is all.
      expect(place.asked.slice(before)).toEqual(['look']);
      for (const each of [run, post]) {
        expect(secrets(each)).not.toContain(KEYS.login.private.trim().split('\n')[2]);
      }
    },
  );

  it('says why where it cannot look: another host key, a refused login, no key', async () => {
    const place = await host();
    const run = await cutOff('SIGKILL', place);
    const saved = JSON.parse(run.state.run ?? '') as Record<string, string>;
    const wrong = `[127.0.0.1]:${place.inputs.port} ${publicPart(KEYS.otherEd25519)}`;
    const state = { ...run.state, run: JSON.stringify({ ...saved, 'known-hosts': wrong }) };
    const before = place.asked.length;
    for (const [inputs, left, why] of [
      [place.inputs, { state }, /host key/i],
      [{ ...place.inputs, 'ssh-key': KEYS.otherLogin.private }, run, /refused|log in|login/i],
      [{ ...place.inputs, 'ssh-key': '' }, run, /key/],
    ] as const) {
      const post = await runPostStep('provision', inputs, left);
      expect(post.code, post.log).toBe(0);
      expect(post.log).toContain('the state of 127.0.0.1 is unknown');
      expect(/^ {2}why: (.*)$/m.exec(post.log)?.[1]).toMatch(why);
      expect(post.log).toContain(`transaction ${ident} had begun: it continues on the host`);
      expect(post.log).not.toMatch(/^\s+at .*:\d+:\d+/m);
    }
    expect(place.asked.length).toBe(before);
    await place.server[Symbol.asyncDispose]();
    const post = await runPostStep('provision', place.inputs, run);
    expect(/^ {2}why: (.*)$/m.exec(post.log)?.[1]).toMatch(/refused/);
  });
});

describe('after a run that ended by itself', () => {
  it.each(names)('%s: says nothing, and connects to nothing', async (action) => {
    const place = await host();
    await using _ = place.server;
    const failed = await runBundle(action, { ...place.inputs, port: 'ssh' });
    expect(failed.code).toBe(1);
    const dry = await runBundle('provision', { ...place.inputs, 'dry-run': 'true' });
    expect(dry.code, dry.log).toBe(0);
    const { connections } = place.server;
    for (const run of [failed, dry]) {
      expect(run.state).toMatchObject({ ended: 'true' });
      const post = await runPostStep(action, place.inputs, run);
      expect([post.code, post.log, post.summary]).toEqual([0, '', '']);
    }
    expect(place.server.connections).toBe(connections);
  });

  it('loads nothing, unless the webhook is not told yet', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'celeriac-post-'));
    try {
      // Without the program of the action beside it.
      cpSync(join(root, 'actions/verify/dist/post.js'), join(folder, 'post.js'));
      const run = promisify(execFile);
      const start = (env: object) =>
        run(process.execPath, [join(folder, 'post.js')], { env: { ...env } });
      expect(await start({ STATE_run: '{}', STATE_ended: 'true' })).toEqual({
        stdout: '',
        stderr: '',
      });
      for (const left of [{ STATE_run: '{}' }, { STATE_ended: 'true', STATE_untold: 'x' }]) {
        await expect(start(left)).rejects.toThrow(/Cannot find module/);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

it.each(names)('%s without any state does nothing, least of all its work', async (action) => {
  const place = await host();
  await using _ = place.server;
  const post = await runPostStep(action, place.inputs, { state: {} });
  expect([post.code, post.log]).toEqual([0, '']);
  expect(place.server.connections).toBe(0);
});
