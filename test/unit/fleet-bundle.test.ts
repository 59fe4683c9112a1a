import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LegRecord } from '../../src/model/fleet.ts';
import { runBundle } from '../lib/bundle.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'celeriac-fleet-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const run = (inputs: Readonly<Record<string, string>>) =>
  runBundle('fleet', inputs, {
    env: { GITHUB_WORKSPACE: folder, RUNNER_TEMP: folder, GITHUB_RUN_ATTEMPT: '2' },
  });

const write = (text: string): void => writeFileSync(join(folder, 'fleet.yml'), text);
const file = { 'fleet-file': 'fleet.yml' };
const three = 'hosts: { a: , b: , c: }\nrollout: { canary: b, max-failures: 2 }\n';
const known = { 'known-hosts': 'x' };
const plan = JSON.stringify({ hosts: ['b', 'a'], canaries: 1, maxFailures: 1, onFailure: 'run' });

/** As the workflow downloads it. */
function keep(record: Partial<LegRecord>): void {
  const whole = { attempt: 2, kind: 'ended', why: '', transaction: '', failed: false, ...record };
  const name = `leg-${whole.attempt}-${whole.kind}-${whole.host}.json`;
  writeFileSync(join(folder, name), JSON.stringify(whole));
}

describe('fleet, as its committed bundle', () => {
  it('plans the hosts of the file; inputs win over it', async () => {
    write(three);
    const { code, outputs, log } = await run({
      task: 'plan',
      ...file,
      ...known,
      'max-parallel': '7',
    });
    expect(code, log).toBe(0);
    expect(outputs).toMatchObject({
      canary: '["b"]',
      'batch-1': '["a","c"]',
      'batch-2': '[]',
      'max-parallel': '7',
    });
    expect(JSON.parse(outputs.plan ?? '')).toEqual({
      hosts: ['b', 'a', 'c'],
      canaries: 1,
      maxFailures: 2,
      onFailure: 'host',
    });
  });

  it.each([
    [
      'a value that is not right for the last host',
      `${three.replace('c: }', 'c: { port: x } }')}`,
      'fleet.yml:1:31',
    ],
    [
      'a check that is not right for the last host',
      `${three.replace('c: }', 'c: { verify: { checks: [{ name: x, comand: y }] } } }')}`,
      'fleet.yml:1:55',
    ],
    [
      'limits that contradict each other',
      `${three.replace('c: }', 'c: { memory-high: 2G, memory-max: 1G } }')}`,
      'fleet.yml:1:38',
    ],
    ['a second document', `${three}---\n${three}`, 'fleet.yml:3:1'],
    ['a canary that is not there', 'hosts: { a: }\nrollout: { canary: b }', 'fleet.yml:2:20'],
    ['a file for one host', 'host: a', 'fleet.yml:1:1'],
  ])('names the place of %s, in one annotation', async (_, text, where) => {
    write(text);
    const { code, log } = await run({ task: 'plan', ...file, ...known });
    expect(code).toBe(1);
    expect(log).toContain(where);
    expect(log.match(/^::error/gm)).toHaveLength(1);
    expect(log).not.toMatch(/^\s+at .*:\d+:\d+/m);
  });

  it('begins a host, and writes that down for upload', async () => {
    const { code, outputs } = await run({ task: 'start', plan, host: 'a', results: folder });
    expect([code, outputs.go, outputs.artifact]).toEqual([0, 'true', 'celeriac-leg-2-begun-a']);
    expect(readdirSync(outputs.path ?? '')).toEqual(['leg-2-begun-a.json']);
  });

  it('gives a host its own keys from the file, and the workflow’s only to one without', async () => {
    const everyone = '* ssh-ed25519 AAAA of another host\n';
    write('hosts: { a: { known-hosts: a x y }, b: { verify: { known-hosts: b x y } }, c: }');
    const given = { task: 'start', plan, ...file, 'known-hosts': everyone, results: folder };
    for (const [host, pins] of [
      ['a', ''],
      ['c', everyone],
    ] as const) {
      for (const more of [{}, { 'roll-back': 'true' }]) {
        const { code, outputs, log } = await run({ ...given, ...more, host });
        expect(code, log).toBe(0);
        expect([host, outputs['known-hosts']]).toEqual([host, pins]);
      }
    }
    // Its own are for some of the actions only, and those of the workflow would replace them.
    for (const task of ['plan', 'start', 'keys']) {
      const { code, outputs, log } = await run({ ...given, task, host: 'b' });
      expect([code, outputs['known-hosts'], outputs.go]).toEqual([1, undefined, undefined]);
      expect(log).toContain('fleet.yml:1:65');
      expect(log).toContain('b has its own `known-hosts`, and none for provision');
    }
    for (const [host, pins] of [
      ['a', ''],
      ['c', everyone],
    ] as const) {
      const { code, outputs } = await run({ ...given, plan: '', task: 'keys', host });
      expect([code, outputs]).toEqual([0, { 'known-hosts': pins }]);
    }
    const none = await run({ ...given, 'known-hosts': '', host: 'c' });
    expect(none.outputs['known-hosts']).toBe('');
  });

  it('begins no host once too many have failed', async () => {
    keep({ host: 'b', state: 'rolled-back', failed: true });
    const { code, outputs } = await run({ task: 'start', plan, host: 'a', results: folder });
    expect([code, outputs.go, outputs.artifact]).toEqual([0, 'false', 'celeriac-leg-2-stopped-a']);
  });

  it('begins no host when it cannot read which have failed', async () => {
    writeFileSync(join(folder, 'leg-2-failed-b.json'), '{');
    const { code, outputs, log } = await run({ task: 'start', plan, host: 'a', results: folder });
    expect([code, outputs.go]).toEqual([1, undefined]);
    expect(log).toContain('cannot read the record leg-2-failed-b.json');
  });

  it('writes down how a deploy ended, a failure in the name', async () => {
    const given = {
      begun: 'true',
      result: 'committed',
      transaction: '20260111T000000-00ff',
      healthy: 'false',
      'rolled-back': 'success',
    };
    const { outputs } = await run({
      task: 'end',
      plan,
      host: 'a',
      outcome: 'failure',
      outputs: JSON.stringify(given),
    });
    expect([outputs.state, outputs.artifact]).toEqual(['rolled-back', 'celeriac-leg-2-failed-a']);
    const text = readFileSync(join(outputs.path ?? '', 'leg-2-failed-a.json'), 'utf8');
    expect(JSON.parse(text)).toMatchObject({
      host: 'a',
      attempt: 2,
      kind: 'ended',
      failed: true,
      transaction: '20260111T000000-00ff',
    });
  });

  it('fails the job of a host whose gate confirmed nothing, and writes that down', async () => {
    const given = {
      begun: 'true',
      result: 'committed',
      transaction: '20260111T000000-00ff',
      'confirm-by': '1800000000',
      healthy: 'true',
      'rolled-back': 'skipped',
    };
    const of = (confirmed: string) =>
      run({
        task: 'end',
        plan,
        host: 'a',
        outcome: 'success',
        outputs: JSON.stringify({ ...given, confirmed }),
      });
    const lost = await of('20260110T000000-00aa');
    expect([lost.code, lost.outputs.state]).toEqual([1, 'unknown']);
    expect(lost.outputs.artifact).toBe('celeriac-leg-2-failed-a');
    const well = await of('20260111T000000-00ff');
    expect([well.code, well.outputs.state]).toEqual([0, 'confirmed']);
  });

  it('writes down that a host is about to go back, and that another release runs', async () => {
    const back = { plan, host: 'a', 'roll-back': 'true' };
    const start = await run({ task: 'start', ...back });
    expect([start.code, start.outputs.go]).toEqual([0, 'true']);
    expect(start.outputs.artifact).toBe('celeriac-leg-2-returning-a');
    const outputs = JSON.stringify({ result: 'superseded' });
    const end = await run({ task: 'end', ...back, outcome: 'failure', outputs });
    expect([end.code, end.outputs.state]).toEqual([0, 'unknown']);
    expect(end.outputs.artifact).toBe('celeriac-leg-2-backfailed-a');
    expect(end.log).toContain('another release runs now');
  });

  it('names at the end what was to go back and has not, unless the run was cancelled', async () => {
    keep({ host: 'b', state: 'confirmed', transaction: '20260111T000000-00ff' });
    keep({ host: 'a', state: 'rolled-back', failed: true });
    const conclude = { task: 'conclude', plan, results: folder };
    const decided = await run({ ...conclude, outcome: 'success' });
    expect(decided.outputs.states).toBe('{"b":"unknown","a":"rolled-back"}');
    expect(decided.summary).toContain('was to be rolled back, but the outcome is unknown');
    const cancelled = await run({ ...conclude, outcome: 'skipped' });
    expect(cancelled.outputs.states).toBe('{"b":"confirmed","a":"rolled-back"}');
  });

  it('decides which hosts go back, with the transaction of each', async () => {
    keep({ host: 'b', state: 'confirmed', transaction: '20260111T000000-00ff' });
    keep({ host: 'a', state: 'rolled-back', failed: true });
    const { code, outputs } = await run({ task: 'decide', plan, results: folder });
    expect(code).toBe(0);
    expect(outputs).toMatchObject({
      'back-1': '[{"host":"b","transaction":"20260111T000000-00ff"}]',
      'back-2': '[]',
    });
  });

  it('names the end of every host, and fails unless all are well', async () => {
    keep({ host: 'b', state: 'confirmed' });
    const jobs = '{"canary":"success","batch-1":"skipped"}';
    const part = await run({ task: 'conclude', plan, jobs, results: folder });
    expect(part.code).toBe(1);
    expect(part.outputs.states).toBe('{"b":"confirmed","a":"untouched"}');
    expect(part.log).toContain('2 hosts: 1 deployed and confirmed, 1 untouched.');
    expect(part.summary).toMatch(
      /\| a \| untouched \| not started.*\n\| b \| deployed and confirmed/,
    );

    keep({ host: 'a', state: 'confirmed' });
    const whole = await run({ task: 'conclude', plan, results: folder });
    expect([whole.code, whole.outputs.states]).toEqual([0, '{"b":"confirmed","a":"confirmed"}']);
  });

  it('does not call a host untouched because its record is missing', async () => {
    keep({ host: 'b', state: 'confirmed' });
    for (const jobs of ['{"canary":"success","batch-1":"success"}', '']) {
      const { code, outputs, summary } = await run({
        task: 'conclude',
        plan,
        jobs,
        results: folder,
      });
      expect([code, outputs.states]).toEqual([1, '{"b":"confirmed","a":"unknown"}']);
      expect(summary).toContain('no record of it was found');
    }
    const wrong = await run({ task: 'conclude', plan, jobs: '{"canary":"well"}', results: folder });
    expect([wrong.code, wrong.outputs.states]).toEqual([1, undefined]);
  });

  it('begins no host after a job that failed, though no record says which host', async () => {
    const jobs = '{"canary":"failure"}';
    const { outputs, log } = await run({ task: 'start', plan, jobs, host: 'a', results: folder });
    expect(outputs.go).toBe('false');
    expect(log).toContain('a host of the job canary had failed');
  });

  it('says what to do about a host whose end nobody has seen', async () => {
    keep({ host: 'b', state: 'confirmed' });
    keep({ host: 'a', state: 'untouched', kind: 'begun' });
    const { code, outputs, summary } = await run({ task: 'conclude', plan, results: folder });
    expect([code, outputs.states]).toEqual([1, '{"b":"confirmed","a":"unknown"}']);
    expect(summary).toContain('Check the hosts whose state is unknown');
  });

  it.each(['start', 'decide', 'conclude'])('%s says that it needs the plan', async (task) => {
    const { code, log } = await run({ task, host: 'a', results: folder });
    expect([code, log]).toEqual([1, expect.stringContaining(`missing \`plan\` for \`${task}\``)]);
  });
});
