import type { Machine } from '../../sandbox/machine.ts';
import { TRANSACTIONS } from '../../test/host/lib/worker.ts';
import type { Place } from './random.ts';

/** A part of a deploy, measured without a fault. */
export interface Part {
  /** `connect`: until the first operation; `leave`: from the last one until the action has ended. */
  readonly name: string;
  /** The operation that it begins with; `leave` begins at the end of the last one. */
  readonly index: number | null;
  readonly seconds: number;
}

/** The parts of a deploy in order. */
export type Timeline = readonly Part[];

export interface Moment {
  readonly part: Part;
  readonly afterSeconds: number;
}

/** Start and end of the runner, in seconds since 1970 by the host's clock. */
export interface Times {
  readonly begun: number;
  readonly deployed: number;
  readonly verified: number;
}

interface Entry {
  readonly event: string;
  readonly at: number;
  readonly index?: number;
}

/** Durations of the parts of a deploy, from its journal. */
export function timelineOf(
  ops: readonly string[],
  journal: readonly Entry[],
  { begun, deployed, verified }: Times,
): Timeline {
  const last = ops.length - 1;
  const at = (index: number, ...events: readonly string[]): number =>
    journal.find((each) => each.index === index && events.includes(each.event))?.at ?? Number.NaN;
  const begins = ops.map((_, index) => at(index, 'started', 'already'));
  const ended = at(last, 'done', 'already');
  return [
    { name: 'connect', index: null, seconds: (begins[0] ?? 0) - begun },
    ...ops.map((name, index) => ({
      name,
      index,
      seconds: (begins[index + 1] ?? ended) - (begins[index] ?? 0),
    })),
    { name: 'leave', index: last, seconds: deployed - ended },
    { name: 'verify', index: null, seconds: verified - deployed },
  ];
}

/** The moment at a place of this timeline. */
export function momentOf(timeline: Timeline, { part, within }: Place): Moment {
  const found = timeline[Math.floor(part * timeline.length)] as Part;
  return { part: found, afterSeconds: within * Math.max(0, found.seconds) };
}

export const tellMoment = ({ part, afterSeconds }: Moment): string =>
  `${part.name}${part.index === null ? '' : ` (${part.index})`} + ${afterSeconds.toFixed(2)} s`;

/** Waits on the host for a line in a new journal. */
const WATCH = `
import glob, json, os, sys, time
known, index, events, halt = json.loads(sys.argv[1])
deadline = time.monotonic() + 900
while time.monotonic() < deadline and not os.path.exists(halt):
    for path in glob.glob('${TRANSACTIONS}/*/journal.jsonl'):
        if path.split('/')[-2] in known:
            continue
        with open(path) as file:
            for line in file:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if entry.get('index') == index and entry['event'] in events:
                    print('there')
                    sys.exit()
    time.sleep(0.01)
print('never')
`;
const HALT = '/run/chaos-halt';

/** Waits for the start of an operation of a deploy, or for the end of the last one. */
export class Watch {
  readonly #machine: Machine;
  readonly #seen: Promise<boolean>;

  /** `known`: the transactions that existed before. */
  constructor(machine: Machine, { name, index }: Part, known: readonly string[]) {
    this.#machine = machine;
    const events = name === 'leave' ? ['done', 'already'] : ['started', 'already'];
    const asked = JSON.stringify([known, index, events, HALT]);
    this.#seen = machine
      .run(`rm -f ${HALT}; python3 -I -S - '${asked}'`, { input: WATCH, timeoutSeconds: 1000 })
      .then(({ stdout }) => stdout.trim() === 'there');
  }

  /** Whether it came; false: the watch was stopped before. */
  get seen(): Promise<boolean> {
    return this.#seen;
  }

  async end(): Promise<void> {
    await this.#machine.run(`touch ${HALT}`);
    await this.#seen.catch(() => false);
  }
}
