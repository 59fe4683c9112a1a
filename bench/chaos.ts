import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { drawRound, FAULTS, type Fault } from './chaos/random.ts';
import { Rig } from './chaos/rig.ts';
import { playRound, type Result } from './chaos/round.ts';
import { tellResult, tellTable } from './chaos/table.ts';
import { readOptions } from './options.ts';

/*
 * Faults at random moments of a deploy that changes everything, while numbered tasks flow; then the
 * host is inspected with its own tools. `npm run chaos -- --rounds 40 --machines 2`; repeat a round
 * by its seed: `-- --seed 4711 --rounds 1`; select faults: `-- power link-cut`.
 */

const { values, positionals } = readOptions({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '40' },
    machines: { type: 'string', default: '1' },
    seed: { type: 'string' },
    // Folder for the logs of failed rounds.
    evidence: { type: 'string', default: join(tmpdir(), 'celeriac-chaos') },
  },
});
const strangers = positionals.filter((word) => !(FAULTS as readonly string[]).includes(word));
if (strangers.length > 0) {
  throw new Error(`unknown fault: ${strangers.join(', ')}; expected ${FAULTS.join(', ')}`);
}
const only = positionals.length === 0 ? FAULTS : (positionals as Fault[]);
const [rounds, machines] = [Number(values.rounds), Number(values.machines)];
const first = values.seed === undefined ? Date.now() % 1_000_000 : Number(values.seed);
console.log(`${rounds} rounds from seed ${first}; evidence of failures: ${values.evidence}`);

const seeds = Array.from({ length: rounds }, (_, index) => first + index);
const results: Result[] = [];
await Promise.all(Array.from({ length: machines }, (_, index) => play(`chaos-${index + 1}`)));
console.log(tellTable(results.toSorted((one, other) => one.draw.seed - other.draw.seed)));
if (results.length < rounds || results.some(({ wrong }) => wrong.length > 0)) process.exitCode = 1;

/** Plays rounds on one machine until none is left. */
async function play(name: string): Promise<void> {
  const rig = await Rig.start(name);
  try {
    for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
      const result = await playRound(rig, drawRound(seed, only), values.evidence);
      results.push(result);
      console.log(tellResult(result));
    }
  } finally {
    await rig.stop();
  }
}
