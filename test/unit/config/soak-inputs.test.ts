import { expect, it } from 'vitest';
import { actions } from '../../../src/config/action-inputs.ts';
import { readInputs } from '../../../src/config/read-inputs.ts';
import { readSoakDesired, recordedLimits } from '../../../src/config/soak-inputs.ts';
import { soakCommandInputs } from '../../../src/config/verify-inputs.ts';
import { ConfigError } from '../../../src/model/errors.ts';

const login: Readonly<Record<string, string>> = { host: 'vps', 'known-hosts': 'vps ssh-ed25519 A' };

const read = (given: Readonly<Record<string, string>>) =>
  readSoakDesired(
    readInputs(actions.verify, (name) => given[name] ?? login[name] ?? '', new Map()),
  );

it('a day without failure, reported only, is the default', () => {
  expect(read({})).toEqual({
    unit: 'celery-worker.service',
    limits: {
      wanted: 86_400,
      // Up to what the host remembers of the deploy.
      failureLimit: null,
      consecutive: null,
      rateLimitMax: null,
      errorRateMax: null,
    },
    onFailure: 'report',
  });
});

it('every limit can be set, and hours may be parts of one', () => {
  const desired = read({
    'soak-hours': '0.25',
    'failure-limit': '5',
    consecutive: '2',
    'soak-failure': 'rollback',
    'rate-limit-max': '4',
    'max-errors': '7',
  });
  expect(desired.limits).toEqual({
    wanted: 900,
    failureLimit: 5,
    consecutive: 2,
    rateLimitMax: 4,
    errorRateMax: 7,
  });
  expect(desired.onFailure).toBe('rollback');
  // Of the whole time, not of a minute.
  expect(read({ 'max-429': '4' }).limits.rateLimitMax).toBeNull();
});

it('a deploy has the host remember its limits, and the usual ones where it says nothing', () => {
  const recorded = (given: Readonly<Record<string, string>>) =>
    recordedLimits(
      readInputs(actions['deploy-worker'], (name) => given[name] ?? login[name] ?? '', new Map()),
    );
  const usual = { failureLimit: 0, consecutive: 3, rateLimitMax: null, errorRateMax: null };
  expect(recorded({})).toEqual(usual);
  expect(recorded({ 'failure-limit': '5', consecutive: '0', 'rate-limit-max': '4' })).toEqual({
    ...usual,
    failureLimit: 5,
    consecutive: 0,
    rateLimitMax: 4,
  });
});

it.each(['-1', '169', '1e3', '.5', 'a day', '1.'])('soak-hours: %s is refused', (hours) => {
  expect(() => read({ 'soak-hours': hours })).toThrow(ConfigError);
});

it('the command line has the same inputs as the action', () => {
  for (const [name, input] of Object.entries(soakCommandInputs)) {
    expect((actions.verify as Record<string, unknown>)[name]).toBe(input);
  }
  for (const name of ['soak-hours', 'rate-limit-max', 'max-errors'] as const) {
    expect(actions['deploy-worker'][name]).toBe(actions.verify[name]);
  }
});

it.each([
  ['failure-limit', '0'],
  ['consecutive', '3'],
] as const)('%s of a deploy says that it does not take over what is remembered', (name, usual) => {
  const { [name]: deploy } = actions['deploy-worker'];
  expect(deploy.description).toMatch(
    new RegExp(`If not set: \`${usual}\`, whatever an earlier deploy said\\.$`),
  );
  expect(actions.verify[name].description).toMatch(
    new RegExp(`If not set: the value that the host remembers, or \`${usual}\`\\.$`),
  );
});
