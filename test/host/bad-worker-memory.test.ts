import { afterAll, beforeAll, expect, test } from 'vitest';
import { BadReleases } from './lib/bad-releases.ts';

/* A release that looks well at first, on a host whose kernel holds limits of memory. */

let releases: BadReleases;

beforeAll(async () => {
  releases = await BadReleases.start('bad-worker-memory', ['memory', 'kernel-log']);
});

afterAll(() => releases?.[Symbol.asyncDispose]());

test('a worker that leaks until MemoryMax: the old one is back, and why', {
  tags: ['nightly'],
}, async () => {
  await releases.reset();
  releases.commitThread('A leak', [
    'held = []',
    'while True:',
    "    held.append(b'x' * 10_000_000)",
    '    time.sleep(0.05)',
  ]);
  const run = await releases.deploy({ 'min-healthy-time': '600s' });
  await releases.expectGoodServes(
    run,
    /^deploy-worker: celery-worker\.service did not keep running: .*(?:out of memory|OOM killer).*\.$/m,
  );
  expect(run.outputs.changed).toBe('false');
});
