import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { z } from 'zod/mini';
import { readFacts } from '../../../../src/adapters/agent/read-answer.ts';
import { factShapes } from '../../../../src/adapters/shapes/facts.ts';
import { readShape } from '../../../../src/adapters/shapes/read-shape.ts';
import { HostError } from '../../../../src/model/errors.ts';
import type { FactAnswers, FactName } from '../../../../src/model/facts.ts';
import { factSamples, factsFolder } from '../../../lib/real-facts.ts';
import { keyPaths, shownPath, without, withValue } from './key-paths.ts';

const samples = readdirSync(factsFolder).flatMap((file) => {
  const name = file.replace('.json', '') as FactName;
  return factSamples(name).map((sample, index) => ({ name, number: index + 1, sample }));
});

/** Keys that may be missing. */
const optional =
  /(?:^|\.)(?:begun|exposure|script|statuses|times|evidence|notNull|default|longest|json|enabledUnits|HOME|PATH|VIRTUAL_ENV|soakLimits\.[^.]+)$/;
/** Keys that the host chooses: paths, names of settings, ids. */
const data: Partial<Record<FactName, RegExp>> = {
  broker: /^lengths\./,
  companions: /^named\.\d+\.unit\.(?:properties|programs|memory\.events)\.[^.]+$/,
  consuming: /^waiting\./,
  files: /^[^.]+$/,
  hardening: /^(?:accounts|owned|folders|sshd)\.[^.]+$|^sshd\.[^.]+\.[^.]+$/,
  past: /^notices\./,
  releases: /^releases\.\d+\.(?:gateF|f)igures\./,
  resets: /^[^.]+$/,
  settings: /^properties\.[^.]+$/,
  stores: /\.times\.[^.]+$/,
  sysctl: /^values\./,
  tasks: /^begun\./,
  // An older agent does not tell it.
  transactions: /^\d+\.unit$/,
  unit: /^(?:properties|programs|memory\.events)\.[^.]+$/,
};
/** A list from which the shape drops what it cannot read. */
const lenient: Partial<Record<FactName, string>> = { samples: 'samples' };
const secret = [['hunter2']];

/** What the host says, from what is read of it: facts whose form allows no contradiction. */
const said: { readonly [Name in FactName]?: (fact: FactAnswers[Name]) => unknown } = {
  broker: (fact) => {
    if (fact.kind !== 'told') return fact;
    const { worker, ...told } = fact;
    return worker.kind === 'told'
      ? { ...told, active: worker.queues, silence: null }
      : { ...told, active: null, silence: worker.why };
  },
  command: ({ output, seconds, ...fact }) => ({
    output,
    seconds,
    code: fact.kind === 'ended' ? fact.code : null,
    problem: fact.kind === 'failed' ? fact.problem : null,
  }),
  http: (answers) =>
    answers.map(({ url, seconds, ...answer }) =>
      answer.kind === 'answered'
        ? { url, seconds, status: answer.status, body: answer.body, error: null }
        : { url, seconds, status: null, body: '', error: answer.error },
    ),
};
const saidOf = (name: FactName, fact: unknown): unknown =>
  (said[name] as ((fact: unknown) => unknown) | undefined)?.(fact) ?? fact;

test('every fact has a sample', () => {
  const names = new Set(samples.map(({ name }) => name));
  expect([...names].sort()).toEqual(Object.keys(factShapes).sort());
});

describe.each(samples)('the fact $name, sample $number', ({ name, sample }) => {
  const shape: z.ZodMiniType = factShapes[name];
  const paths = keyPaths(sample).filter((path) => !data[name]?.test(path.join('.')));

  test('is read completely', () => {
    const reading = readShape(shape, sample);
    expect(reading.kind === 'read' && saidOf(name, reading.value)).toEqual(sample);
  });

  test('is rejected with the name of a missing key', () => {
    for (const path of paths) {
      const reading = readShape(shape, without(sample, path));
      if (optional.test(path.join('.'))) expect(reading.kind).toBe('read');
      else expect(reading).toEqual({ kind: 'refused', problem: `${shownPath(path)} is missing` });
    }
  });

  test('is rejected with the name of a key of the wrong type, but without its value', () => {
    for (const path of paths.filter((each) => each.join('.') !== lenient[name])) {
      const reading = readShape(shape, withValue(sample, path, secret));
      if (reading.kind === 'read') expect.fail(`${path.join('.')} may be anything`);
      expect(reading.problem.startsWith(shownPath(path)), reading.problem).toBe(true);
      expect(reading.problem).not.toContain('hunter2');
    }
  });
});

describe('what contradicts itself is read as', () => {
  const read = (name: FactName, sample: unknown) =>
    readShape(factShapes[name] as z.ZodMiniType, sample);

  test('an answer, if its body ended early', () => {
    const answer = { url: 'http://127.0.0.1/', status: 200, body: 'O', error: 'reset', seconds: 1 };
    const { error: _, ...value } = { ...answer, kind: 'answered' };
    expect(read('http', [answer])).toEqual({ kind: 'read', value: [value] });
  });

  test('a command that did not end in time, if it has neither a code nor a problem', () => {
    const command = { code: null, output: 'x', seconds: 1, problem: null };
    const value = { kind: 'timed-out', output: 'x', seconds: 1 };
    expect(read('command', command)).toEqual({ kind: 'read', value });
  });

  test('a worker that says nothing, if the app gives no reason', () => {
    const sample = { ...(factSamples('broker')[0] as object), active: null, silence: null };
    const worker = { kind: 'silent', why: 'no answer' };
    expect(read('broker', sample)).toMatchObject({ kind: 'read', value: { worker } });
  });
});

describe('an answer with facts', () => {
  const read = (answer: unknown) => readFacts(answer, { resets: { database: '/x.db' } }, 'look');
  const refusal = (answer: unknown): HostError => {
    try {
      read(answer);
    } catch (error) {
      if (error instanceof HostError) return error;
      throw error;
    }
    throw new Error('expected a HostError');
  };

  test('contains the requested facts, and no others', () => {
    expect(read({ resets: { 'jobs:1': 2 }, host: {} })).toEqual({ resets: { 'jobs:1': 2 } });
  });

  test('that lacks one is rejected with its name', () => {
    for (const answer of [{}, null, 'what?', { resets: undefined }]) {
      const { message, failure } = refusal(answer);
      expect(message).toBe("the agent's fact 'resets' has an unexpected shape: it is missing");
      expect(failure).toMatchObject({ step: 'look', evidence: [] });
    }
  });

  test('is rejected with the name of a key only if that is a plain name', () => {
    expect(refusal({ resets: { jobs: 'hunter2' } }).message).toBe(
      "the agent's fact 'resets' has an unexpected shape: jobs is string, expected number",
    );
    expect(refusal({ resets: { 'hunter2:1': null, b: '', c: [] } }).message).toBe(
      "the agent's fact 'resets' has an unexpected shape: […] is null, expected number (and 2 more)",
    );
  });

  test('may contain unknown keys, which are dropped', () => {
    const fact = { newest: null, truncated: false, startedWithThese: null };
    const answer = { code: { ...fact, size: 3 } };
    expect(readFacts(answer, { code: { unit: 'x.service' } }, 'look')).toEqual({ code: fact });
  });
});
