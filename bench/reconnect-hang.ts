import { type Machine, startMachine } from '../sandbox/machine.ts';
import {
  type Figures,
  hangLimitSeconds,
  prepareReconnects,
  type Round,
  reconnectOnce,
  sumUp,
} from '../test/host/lib/reconnects.ts';
import { readOptions } from './options.ts';

/*
 * Redis is restarted, away for a while, or killed, again and again, under a worker of Celery 5.2.6
 * with the support module; after each time it must take its jobs again, and lose none.
 * `npm run bench:reconnect-hang -- --rounds 60 --hosts 3`
 * With `--repair off`, a worker that has lost its sockets is left to its watchdog.
 */

const { values } = readOptions({
  options: {
    rounds: { type: 'string', default: '60' },
    hosts: { type: 'string', default: '2' },
    watchdog: { type: 'string', default: '30' },
    repair: { type: 'string', default: 'on' },
  },
});
const [rounds, hosts, watchdog] = [values.rounds, values.hosts, values.watchdog].map(Number) as [
  number,
  number,
  number,
];

let next = 0;
const done: Round[] = [];

async function work(machine: Machine, host: number): Promise<Figures> {
  await prepareReconnects(machine, { watchdogSeconds: watchdog, repairs: values.repair !== 'off' });
  const mine: Round[] = [];
  while (next < rounds) {
    next += 1;
    const round = await reconnectOnce(machine, next, watchdog);
    mine.push(round);
    done.push(round);
    console.log(
      `host ${host}, round ${round.number}, ${round.way}: ${round.done} of ${round.sent} jobs done after ${round.seconds.toFixed(1)} s; ${round.repaired} repaired, ${round.told} told, ${round.restarts} restarted`,
    );
  }
  return sumUp(machine, mine);
}

const machines = await Promise.all(
  Array.from({ length: hosts }, (_, index) =>
    startMachine({ name: `bench-reconnect-hang-${index + 1}`, state: 'healthy' }),
  ),
);
try {
  const sums = await Promise.all(machines.map((machine, index) => work(machine, index + 1)));
  const total = (name: keyof Figures): number => sums.reduce((sum, each) => sum + each[name], 0);
  const limit = hangLimitSeconds(watchdog);
  const late = done.filter(({ seconds }) => seconds > limit).length;
  console.log(`
rounds                          ${done.length}
hangs: sockets lost, repaired   ${total('repaired')}
hangs: told as "consumes nothing" ${total('told')}
restarts by the watchdog        ${total('restarts')}
longest until jobs were done    ${Math.max(...done.map(({ seconds }) => seconds)).toFixed(1)} s (limit ${limit} s)
rounds beyond the limit         ${late}
jobs sent, done, lost           ${total('sent')}, ${total('done')}, ${total('sent') - total('done')}`);
  if (late > 0 || total('sent') !== total('done')) process.exitCode = 1;
} finally {
  await Promise.all(machines.map((machine) => machine.stop()));
}
