import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { z } from 'zod/mini';
import { readFacts } from '../../../../src/adapters/agent/read-answer.ts';
import { factShapes } from '../../../../src/adapters/shapes/facts.ts';
import { readShape } from '../../../../src/adapters/shapes/read-shape.ts';
import { HostError } from '../../../../src/model/errors.ts';
import type { FactName } from '../../../../src/model/facts.ts';
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

test('every fact has a sample', () => {
  const names = new Set(samples.map(({ name }) => name));
  expect([...names].sort()).toEqual(Object.keys(factShapes).sort());
});

describe.each(samples)('the fact $name, sample $number', ({ name, sample }) => {
  const shape: z.ZodMiniType = factShapes[name];
  const paths = keyPaths(sample).filter((path) => !data[name]?.test(path.join('.')));

  test('is read completely', () => {
    expect(readShape(shape, sample)).toEqual({ kind: 'read', value: sample });
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
