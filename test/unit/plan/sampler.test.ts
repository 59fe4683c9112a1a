import { expect, test } from 'vitest';
import type { SoakThresholds } from '../../../src/model/soak.ts';
import { seconds } from '../../../src/model/units.ts';
import { planSampler } from '../../../src/plan/deploy/sampler.ts';
import { workerDesired } from '../../lib/worker-desired.ts';

const desired = workerDesired({
  unit: 'celery-worker.service',
  supportModule: { name: 'celeriac_support', text: '' },
  readWritePaths: ['/srv/media'],
});
const day = seconds(24 * 3600);

test('without a soak nothing is sampled', () => {
  expect(planSampler(desired, '/srv/app')).toBeNull();
  expect(planSampler({ ...desired, soakSeconds: seconds(0) }, '/srv/app')).toBeNull();
});

test('without a soak the samples of the release before end', () => {
  expect(planSampler(desired, '/srv/app', { sampling: true, soakLimits: null })).toEqual({
    op: 'stop-sampler',
    unit: 'celery-worker.service',
    title: 'stop sampling celery-worker.service',
    why: 'soak-hours is 0, so the samples of the previous release end, too',
  });
});

test('the room is watched where the app writes, and each path is named once', () => {
  const release = {
    from: { source: 'upload', deployTo: '/srv/shop', shared: [], keepReleases: 5 },
    commit: null,
    dependencies: null,
  } as const;
  const soakLimits = { failureLimit: 1, consecutive: 0, rateLimitMax: null, errorRateMax: 7 };
  const soaked = { ...desired, soakSeconds: day, soakLimits, release };
  expect(planSampler(soaked, '/srv/media')).toMatchObject({
    op: 'start-sampler',
    unit: 'celery-worker.service',
    paths: ['/', '/var', '/srv/media', '/srv/shop'],
    limits: soakLimits,
    why: 'the release is proven after 24 hours without failure, and the host remembers them',
  });
});

test('limits that become laxer than those of the release before are named', () => {
  const soakLimits = { failureLimit: 0, consecutive: 0, rateLimitMax: null, errorRateMax: 7 };
  const why = (before: SoakThresholds) => {
    const soaked = { ...desired, soakSeconds: day, soakLimits };
    return planSampler(soaked, '/srv/app', { sampling: true, soakLimits: before })?.why;
  };
  const usual = 'the release is proven after 24 hours without failure, and the host remembers them';
  expect(why({ ...soakLimits, failureLimit: 5, errorRateMax: 9 })).toBe(usual);
  expect(why({ ...soakLimits, consecutive: 2, rateLimitMax: 5 })).toBe(
    `${usual}; its limits are laxer than those of the previous release: \`consecutive\` 0 instead of 2, \`rate-limit-max\` none instead of 5`,
  );
});

test('a directory that is not known is not watched, and no more than the host accepts', () => {
  const many = {
    ...desired,
    soakSeconds: day,
    readWritePaths: Array.from({ length: 30 }, (_, index) => `/srv/${index}`),
  };
  expect(planSampler({ ...many, readWritePaths: [] }, '')).toMatchObject({ paths: ['/', '/var'] });
  expect(planSampler(many, '')).toHaveProperty('paths.length', 20);
});
