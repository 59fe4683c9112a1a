import { expect, test } from 'vitest';
import { stepsFor } from './loose-workers.ts';

test('every copy is stopped, each as it was started', () => {
  const steps = stepsFor(
    [
      { pid: 70 },
      { pid: 81 },
      { pid: 92, above: ['tmux: server'] },
      { pid: 99, workingDirectory: '/srv/other' },
    ].map((each) => ({ parentPid: 1, ...each })),
  );
  expect(steps).toContain('`kill -TERM 70 81` stops each copy');
  expect(steps).toContain('`ps -p 70,81`');
  expect(steps).toMatch(/`kill -TERM 92` stops it .* end the session in tmux/);
  expect(steps).not.toContain('99');
});

test('a host on which every name is taken gets no proposal', () => {
  expect(() => stepsFor([{ pid: 70 }], { name: null })).toThrow('celery-worker.service, celery-w');
});
