import type { BeatProcess, BeatsFact, BeatUnit } from '../model/facts/beside.ts';
import type { BrokerQuery } from '../model/facts/broker.ts';
import type { AppIdentity } from './strays.ts';
import { beatCommand } from './worker-process.ts';

const beat = new RegExp(beatCommand);

/** Whether a process runs Celery beat, also inside a worker. */
export const runsBeat = (argv: readonly string[]): boolean =>
  beat.test(argv.map((word) => `${word}\0`).join(''));

/** The beats of one app on a host. */
export interface OwnBeats {
  /** Services whose command is a beat of the app; not the worker's unit. */
  readonly units: readonly BeatUnit[];
  /** Running ones, wherever; one of the worker's unit is its `-B`. */
  readonly processes: readonly BeatProcess[];
}

/** The beats of the same user, directory and app as the worker. */
export function ownBeats({ units, processes }: BeatsFact, own: AppIdentity): OwnBeats {
  const isOwn = (each: BeatUnit | BeatProcess): boolean =>
    each.user === own.user &&
    directoryOf(each) === own.workingDirectory &&
    optionOf(each.argv, ['-A', '--app']) === own.app;
  return {
    units: units.filter((each) => each.unit !== own.unit && isOwn(each)),
    processes: processes.filter(isOwn),
  };
}

/** Where its schedule is, as its command line shows it; `null`: no beat runs. */
export function scheduleQuery({ processes }: OwnBeats): BrokerQuery['beat'] {
  const [first] = processes;
  if (first === undefined) return null;
  return {
    directory: directoryOf(first),
    schedule: optionOf(first.argv, ['-s', '--schedule', '--schedule-filename']),
    scheduler: optionOf(first.argv, ['-S', '--scheduler']),
  };
}

/** The value of an option: `-A app`, `--app app`, `--app=app` or `-Aapp`. */
function optionOf(argv: readonly string[], names: readonly string[]): string | null {
  for (const [index, word] of argv.entries()) {
    if (names.includes(word)) return argv[index + 1] ?? null;
    const name = names.find((each) =>
      each.startsWith('--') ? word.startsWith(`${each}=`) : isJoined(word, each),
    );
    if (name !== undefined) return word.slice(name.startsWith('--') ? name.length + 1 : 2);
  }
  return null;
}

const isJoined = (word: string, option: string): boolean =>
  word.startsWith(option) && word.length > option.length && !word.startsWith('--');

const directoryOf = ({ workingDirectory }: BeatUnit | BeatProcess): string =>
  (workingDirectory ?? '').replace(/ \(deleted\)$/, '');
