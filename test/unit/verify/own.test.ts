import { describe, expect, test } from 'vitest';
import type { HttpAnswer } from '../../../src/model/facts/probe.ts';
import type { OwnCommand, OwnUrl } from '../../../src/model/own-check.ts';
import { seconds } from '../../../src/model/units.ts';
import type { Verdict } from '../../../src/model/verdict.ts';
import { gateError, judge } from '../../../src/verify/checks.ts';
import type { OwnCommandResult } from '../../../src/verify/evidence.ts';
import { desired, evidence, facts } from './facts.ts';

const command: OwnCommand = {
  kind: 'command',
  name: 'migrations are applied',
  argv: ['python', 'manage.py', 'migrate', '--check'],
  exitCode: 0,
  contains: null,
  timeoutSeconds: seconds(30),
};
const url: OwnUrl = {
  kind: 'url',
  name: 'board',
  url: 'http://127.0.0.1:5555/health',
  status: null,
  contains: null,
  timeoutSeconds: seconds(30),
};

const printed = { output: 'all of them\nare there', seconds: seconds(2) };
const ran = (code = 0): OwnCommandResult => ({
  kind: 'ran',
  fact: { ...printed, kind: 'ended', code },
});

const own = ({ checks }: Verdict) => checks.filter(({ id }) => id === 'own');

function withCommand(
  result: OwnCommandResult | null,
  changes: Partial<OwnCommand> = {},
  dryRun = false,
): Verdict {
  const ownCommands = new Map(result === null ? [] : [[command.name, result]]);
  const ownChecks = [{ ...command, ...changes }];
  return judge(evidence({ ownCommands }), desired({ ownChecks, dryRun }));
}

const answers = (status = 200): HttpAnswer => ({
  url: url.url,
  seconds: seconds(0.2),
  kind: 'answered',
  status,
  body: 'OK\n',
});

function withAnswer(answer: HttpAnswer, changes: Partial<OwnUrl> = {}): Verdict {
  const probe = { url: 'http://127.0.0.1/up', timeoutSeconds: seconds(10) };
  const http = [{ ...answers(), url: probe.url }, answer];
  const wanted = desired({ probes: [probe], ownChecks: [command, { ...url, ...changes }] });
  const ownCommands = new Map([[command.name, ran()]]);
  return judge(evidence({ before: facts({ http }), ownCommands }), wanted);
}

describe('a command of the user', () => {
  test('that answers as it must passes', () => {
    const verdict = withCommand(ran());
    expect(own(verdict)).toEqual([
      {
        id: 'own',
        title: 'migrations are applied',
        verdict: 'pass',
        seen: 'exit code 0 in 2 s',
        expected: '',
        evidence: [],
        next: '',
      },
    ]);
    expect(verdict.conclusion).toBe('healthy');
    expect(own(withCommand(ran(3), { exitCode: 3 }))[0]?.verdict).toBe('pass');
    expect(own(withCommand(ran(), { contains: 'them\nare' }))[0]?.verdict).toBe('pass');
  });

  test('that ends otherwise fails with what it printed', () => {
    const verdict = withCommand(ran(3));
    expect(verdict.conclusion).toBe('unhealthy');
    expect(own(verdict)[0]).toMatchObject({
      verdict: 'fail',
      seen: 'exit code 3 in 2 s',
      expected: 'exit code 0',
      evidence: ['all of them', 'are there'],
      next: expect.stringContaining('`python manage.py migrate --check`'),
    });
    expect(own(withCommand(ran(-9)))[0]?.seen).toBe('ended by signal 9 in 2 s');
    expect(
      own(withCommand({ kind: 'ran', fact: { ...printed, kind: 'timed-out' } }))[0],
    ).toMatchObject({
      verdict: 'fail',
      seen: 'not finished within 30 s',
    });
    const failed = { ...printed, kind: 'failed', problem: 'it printed too much' } as const;
    expect(own(withCommand({ kind: 'ran', fact: failed }))[0]).toMatchObject({
      verdict: 'fail',
      seen: 'it printed too much',
    });
  });

  test('whose answer lacks a text fails', () => {
    expect(own(withCommand(ran(), { contains: 'none' }))[0]).toMatchObject({
      verdict: 'fail',
      seen: 'exit code 0 in 2 s, without the text',
      expected: 'an answer that contains none',
    });
  });

  test('that was not run makes the verdict inconclusive, except in a dry run', () => {
    for (const result of [null, { kind: 'not-run', why: 'it was refused' } as const]) {
      const verdict = withCommand(result);
      expect(own(verdict)[0]?.verdict).toBe('unknown');
      expect(verdict.conclusion).toBe('inconclusive');
      expect(gateError(verdict)?.message).toContain('migrations are applied: not run: ');
    }
    const rehearsed = withCommand({ kind: 'not-run', why: 'dry run' }, {}, true);
    expect(own(rehearsed)[0]?.seen).toBe('not run: dry run');
    expect(rehearsed.conclusion).toBe('healthy');
  });
});

describe('a URL of the user', () => {
  const last = (verdict: Verdict) => own(verdict).at(-1);

  test('that answers as it must passes; the HTTP probes before it are judged apart', () => {
    const verdict = withAnswer(answers(204));
    expect(last(verdict)).toMatchObject({
      title: 'board',
      verdict: 'pass',
      seen: 'status 204 in 0.2 s',
    });
    expect(verdict.checks.filter(({ id }) => id === 'http')).toHaveLength(1);
    expect(last(withAnswer(answers(403), { status: 403 }))?.verdict).toBe('pass');
    expect(last(withAnswer(answers(), { contains: 'OK' }))?.verdict).toBe('pass');
  });

  test('that answers otherwise, or not at all, fails', () => {
    expect(last(withAnswer(answers(503)))).toMatchObject({
      verdict: 'fail',
      seen: 'status 503 in 0.2 s',
      expected: 'a status of 200 to 299',
      evidence: ['OK'],
    });
    expect(last(withAnswer(answers(), { status: 403 }))).toMatchObject({
      verdict: 'fail',
      expected: 'status 403',
    });
    expect(last(withAnswer(answers(), { contains: 'ready' }))?.verdict).toBe('fail');
    const about = { url: url.url, seconds: seconds(0.2) };
    expect(last(withAnswer({ ...about, kind: 'failed', error: 'refused' }))).toMatchObject({
      verdict: 'fail',
      seen: 'no answer: refused',
    });
  });
});
