import { describe, expect, test } from 'vitest';
import { workerCallOf } from '../../../src/celery/worker-call.ts';
import { fileFact, process, unitFact } from '../verify/facts.ts';

const stopped = (execStart: string, dropIns: readonly string[] = []) =>
  unitFact({
    mainPid: null,
    processes: [],
    fragment: fileFact(`[Service]\nExecStart=${execStart}\n`),
    dropIns: dropIns.map((text, index) => ({ path: `/etc/x.d/${index}.conf`, text })),
  });

describe('the running worker', () => {
  test('is read from the main process', () => {
    expect(workerCallOf(unitFact(), 2)).toEqual({
      app: 'celery_app',
      queues: ['celery', 'batch', 'links', 'variations'],
      excludedQueues: [],
      children: { min: 1, max: 1 },
      forks: true,
      beat: false,
      include: ['celeriac_support'],
      workingDirectory: '/srv/app',
    });
  });

  test('is read from the files if Celery has overwritten its arguments', () => {
    const argv = ['[celeryd: celery@vps:MainProcess] -active- (worker -A other)'];
    const unit = { ...stopped('/usr/bin/celery -A app worker'), mainPid: 100 };
    expect(workerCallOf({ ...unit, processes: [process(100, 1, { argv })] }, 2)).toMatchObject({
      app: 'app',
      queues: 'default',
      children: { min: 2, max: 2 },
    });
  });
});

describe('the unit files', () => {
  test('the last drop-in wins, one without ExecStart does not count', () => {
    const unit = stopped('/usr/bin/celery -A old worker', [
      '[Service]\nExecStart=\nExecStart=/usr/bin/celery -A new worker -c 3 -Q a,b\n',
      '[Service]\nMemoryMax=1G\n',
    ]);
    expect(workerCallOf(unit, 1)).toMatchObject({
      app: 'new',
      queues: ['a', 'b'],
      children: { min: 3, max: 3 },
    });
  });

  test.each([
    ['-c 5', { children: { min: 5, max: 5 } }],
    ['-c 0', { children: { min: 4, max: 4 } }],
    ['-c ${COUNT}', { children: null }],
    ['--autoscale=10,3', { children: { min: 3, max: 10 } }],
    ['--autoscale=10', { children: { min: 0, max: 10 } }],
    ['-P threads -c 20', { children: { min: 0, max: 0 }, forks: false }],
    ['-B', { beat: true }],
    ['-Q $QUEUES', { queues: 'unknown' }],
    ['-Q a,%i', { queues: 'unknown' }],
    ['-Q a,b -X b', { queues: ['a'], excludedQueues: ['b'] }],
    ['--exclude-queues=b,c', { queues: 'default', excludedQueues: ['b', 'c'] }],
    ['-Q a -X %i', { queues: ['a'], excludedQueues: 'unknown' }],
  ])('%s', (options, expected) => {
    const unit = stopped(`/usr/bin/celery -A app worker ${options}`);
    expect(workerCallOf(unit, 4)).toMatchObject(expected);
  });

  test('an app in a variable is unknown', () => {
    expect(workerCallOf(stopped('/usr/bin/celery -A $APP worker'), 1)?.app).toBeNull();
    expect(workerCallOf(stopped('/usr/bin/celery worker'), 1)?.app).toBeNull();
  });

  test('the directory is that of the command, otherwise that of the unit', () => {
    // Strays of this app are there, too.
    const moved = stopped('/usr/bin/celery -A app --workdir=/srv/other worker');
    expect(workerCallOf(moved, 1)?.workingDirectory).toBe('/srv/other');
    const plain = stopped('/usr/bin/celery -A app worker');
    expect(workerCallOf(plain, 1)?.workingDirectory).toBe('/srv/app');
    const bare = { ...plain, workingDirectory: null, properties: {} };
    expect(workerCallOf(bare, 1)?.workingDirectory).toBe('/');
  });

  test.each([
    '/usr/sbin/nginx',
    '/bin/sh /srv/start-worker.sh',
    '/usr/bin/celery -A app beat',
    '"unbalanced',
  ])('no worker: %s', (execStart) => {
    expect(workerCallOf(stopped(execStart), 1)).toBeNull();
  });

  test('no unit file', () => {
    expect(workerCallOf({ ...stopped(''), fragment: { kind: 'absent' } }, 1)).toBeNull();
  });
});
