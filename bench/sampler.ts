import { seconds } from '../src/model/units.ts';
import { Hand } from '../test/host/lib/hand.ts';
import { startSupportedUnit, supportedUnit } from '../test/host/lib/units.ts';
import { BACKEND, UNIT } from '../test/host/lib/worker.ts';
import { readOptions } from './options.ts';

/*
 * What the sampler costs: processor time of one run, with that of the commands it starts, as a share
 * of the minute that it stands for, while the worker logs so many lines a minute. Exit code 1: more
 * than it may take.
 * `npm run bench:sampler -- --rounds 20 --lines 0,100,1000`
 */

const MOST_PERCENT = 0.2;
const MINUTE = 60;
/** What the worker's unit logs when it is reloaded. */
const CHATTY = 'ExecReload=/usr/bin/cat /run/chatty\n';

const { values } = readOptions({
  options: {
    rounds: { type: 'string', default: '20' },
    lines: { type: 'string', default: '0,100,1000' },
  },
});

/** Not through systemd: where it counts no processor time of a unit, the kernel still does. */
const MEASURE = `
import json, resource, subprocess, sys, time
rounds, lines = int(sys.argv[1]), int(sys.argv[2])
with open('/etc/systemd/system/celeriac-sampler.service') as file:
    command = next(line[10:].split() for line in file if line.startswith('ExecStart='))
def log(round):
    with open('/run/chatty', 'w') as file:
        for number in range(lines):
            file.write('[2026-01-18 11:02:03,123: INFO/ForkPoolWorker-1] Task tasks.process[%d] succeeded in 0.512s: None\\n' % number)
        file.write('the end of round %d of %d\\n' % (round, lines))
    subprocess.run(['systemctl', 'reload', '${UNIT}'], check=True)
    for _ in range(600):
        last = subprocess.run(['journalctl', '-q', '-n', '20', '-o', 'cat', '_SYSTEMD_UNIT=${UNIT}'], stdout=subprocess.PIPE)
        if 'the end of round %d of %d' % (round, lines) in last.stdout.decode().splitlines():
            return
        time.sleep(0.1)
    sys.exit('the journal does not get the lines')

def spent():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

found = []
for round in range(rounds):
    log(round)
    before = spent()
    subprocess.run(command, check=True)
    found.append(spent() - before)
print(json.dumps(found))
`;

async function main(): Promise<void> {
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error('--rounds: expected 1 or more');
  const hand = await Hand.start('bench-sampler');
  try {
    // As many lines as a day has would be dropped within a minute.
    await hand.shell(
      "mkdir -p /etc/systemd/journald.conf.d; printf '[Journal]\\nRateLimitIntervalSec=0\\n' >/etc/systemd/journald.conf.d/bench.conf; systemctl restart systemd-journald",
    );
    const unit = supportedUnit('celery,batch,links,variations', CHATTY);
    await startSupportedUnit(hand.machine, unit);
    const paths = ['/', '/var', BACKEND];
    const soakSeconds = seconds(24 * 3600);
    await hand.commit([{ op: 'start-sampler', unit: UNIT, paths, soakSeconds }]);
    // By hand alone, so that no other run is in the way.
    await hand.shell('systemctl stop celeriac-sampler.timer');
    console.log('lines a minute   median of a run   longest   share of one processor');
    for (const lines of values.lines.split(',')) {
      const words = `python3 -I -S - ${rounds} ${lines}`;
      const { stdout } = await hand.machine.run(words, { input: MEASURE, timeoutSeconds: 600 });
      tell(lines, JSON.parse(stdout) as readonly number[]);
    }
  } finally {
    await hand.stop();
  }
}

function tell(lines: string, seconds: readonly number[]): void {
  const sorted = seconds.toSorted((one, other) => one - other);
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const percent = (median / MINUTE) * 100;
  const milliseconds = (value: number) => `${(value * 1000).toFixed(0)} ms`;
  const cells = [lines, milliseconds(median), milliseconds(sorted.at(-1) ?? 0)];
  console.log([...cells, `${percent.toFixed(3)} %`].map((cell) => cell.padStart(14)).join('   '));
  if (percent > MOST_PERCENT) process.exitCode = 1;
}

await main();
