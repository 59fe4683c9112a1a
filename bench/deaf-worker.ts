import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Machine, startMachine } from '../sandbox/machine.ts';
import { deafen, startDeafWorker, type Way, workThrough } from '../test/host/lib/deaf-workers.ts';
import { readOptions } from './options.ts';

/*
 * Workers of several versions of Celery are made deaf on purpose, and must hear again in time; then
 * they get jobs that give them reasons to leave messages waiting, and must not be restarted.
 * `npm run bench:deaf-worker -- --celery 5.2.6,5.5.3,5.6.3 --jobs 1000`
 * 5.2.6 is that of the host; others are downloaded by pip, for the Python of the host. With
 * `--rabbitmq FOLDER`, the broker is RabbitMQ, whose packages for Debian 12 (and Erlang's) are there.
 */

const { values } = readOptions({
  options: {
    celery: { type: 'string', default: '5.2.6,5.5.3,5.6.3' },
    jobs: { type: 'string', default: '1000' },
    watchdog: { type: 'string', default: '20' },
    pools: { type: 'string', default: 'prefork' },
    rabbitmq: { type: 'string' },
  },
});
const [jobs, watchdog] = [values.jobs, values.watchdog].map(Number) as [number, number];
const OF_THE_HOST = '5.2.6';
const POOLS: Readonly<Record<string, string>> = {
  prefork: '--concurrency=2',
  fair: '--concurrency=2 -O fair --prefetch-multiplier=4',
  autoscale: '--autoscale=4,1',
  threads: '--pool=threads --concurrency=4',
  solo: '--pool=solo',
  gevent: '--pool=gevent --concurrency=20',
};
/** Enough for a start, which ends a deafness that nothing else ends. */
const limit = watchdog + 20;

/** Installs a Celery into an environment of its own; returns its Python. */
async function install(machine: Machine, version: string): Promise<string> {
  if (version === OF_THE_HOST) return '/usr/bin/python3';
  const folder = mkdtempSync(path.join(tmpdir(), 'celeriac-wheels-'));
  try {
    const target = ['--python-version', '3.11', '--platform', 'manylinux2014_x86_64'];
    // pip weighs conditions on Python 3.11.2 by its own version: redis needs the last one there.
    const wanted = [`celery[redis]==${version}`, 'gevent', 'async-timeout'];
    const words = ['download', '-q', '--only-binary', ':all:', ...target, '-d', folder, ...wanted];
    const { status } = spawnSync('python3', ['-m', 'pip', ...words], { stdio: 'inherit' });
    if (status !== 0) throw new Error(`pip could not download Celery ${version}`);
    await machine.run('mkdir -p /srv/wheels && python3 -m venv /srv/celery');
    for (const name of readdirSync(folder)) {
      await machine.writeFile(`/srv/wheels/${name}`, readFileSync(path.join(folder, name)));
    }
    const local = '--no-index --find-links /srv/wheels';
    const install = `/srv/celery/bin/pip install -q ${local} 'celery[redis]==${version}' gevent`;
    await machine.run(install, { timeoutSeconds: 300 });
    return '/srv/celery/bin/python';
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Replaces Redis as the broker; returns its URL. */
async function installRabbit(machine: Machine, folder: string): Promise<string> {
  await machine.run('mkdir /srv/packages');
  for (const name of readdirSync(folder).filter((each) => each.endsWith('.deb'))) {
    const target = `/srv/packages/${name.replaceAll('%3a', '_')}`;
    await machine.writeFile(target, readFileSync(path.join(folder, name)));
  }
  await machine.run('DEBIAN_FRONTEND=noninteractive dpkg -i /srv/packages/*.deb', {
    timeoutSeconds: 300,
  });
  await machine.run('systemctl start rabbitmq-server', { timeoutSeconds: 300 });
  return 'pyamqp://guest:guest@127.0.0.1:5672//';
}

let failed = 0;

async function tryVersion(version: string): Promise<void> {
  await using machine = await startMachine({
    name: `bench-deaf-${version.replaceAll('.', '-')}`,
    state: 'healthy',
  });
  const python = await install(machine, version);
  const { rabbitmq } = values;
  const broker = rabbitmq === undefined ? {} : { broker: await installRabbit(machine, rabbitmq) };
  for (const way of ['sockets', 'channel', 'lasting'] satisfies Way[]) {
    await startDeafWorker(machine, { watchdogSeconds: watchdog, python, ...broker });
    const { seconds, repaired, told, restarts } = await deafen(machine, way, 2 * limit);
    if (seconds > limit) failed += 1;
    console.log(
      `${version}, deaf by ${way}: jobs done after ${seconds.toFixed(1)} s (limit ${limit} s); ${repaired} repaired, ${told} told, ${restarts} restarted`,
    );
  }
  for (const pool of values.pools.split(',')) {
    const options = POOLS[pool] ?? pool;
    await startDeafWorker(machine, { watchdogSeconds: watchdog, python, options, ...broker });
    const begun = performance.now();
    const { sent, done, repeated, told, restarts } = await workThrough(machine, jobs, 900);
    if (done !== sent || repeated > 0 || told > 0 || restarts > 0) failed += 1;
    console.log(
      `${version}, ${pool}: ${done} of ${sent} jobs done in ${((performance.now() - begun) / 1000).toFixed(0)} s, ${repeated} repeated; ${told} told, ${restarts} restarted`,
    );
  }
}

await Promise.all(values.celery.split(',').map(tryVersion));
if (failed > 0) process.exitCode = 1;
