import type { Note } from '../../test/host/lib/task-flow.ts';
import type { Seen } from './look.ts';
import type { Fault } from './random.ts';

/** The state of a host with a release. */
export interface Whole {
  readonly name: string;
  readonly unitText: string;
  readonly support: string | null;
  readonly commit: string;
  readonly version: string;
}

/** Numbered tasks up to `sent`, and what is known about them. */
export interface Flow {
  readonly sent: number;
  readonly notes: readonly Note[];
  /** Lost in an earlier round, and reported there. */
  readonly known: ReadonlySet<number>;
  /** The first task of this round. */
  readonly first: number;
}

export interface Tally {
  readonly sent: number;
  /** Never began, and are in no queue and held by no worker. */
  readonly lost: readonly number[];
  /** Began but never ended, and will not run again. */
  readonly cut: readonly number[];
  readonly waiting: readonly number[];
  readonly twiceEarly: readonly number[];
  readonly twiceLate: readonly number[];
}

/** Counts what happened to the numbered tasks. */
export function tally({ sent, notes, known, first }: Flow, { queued, unacked }: Seen): Tally {
  const begun = new Map<number, number>();
  const done = new Set<number>();
  for (const { event, number } of notes) {
    if (event === 'begun') begun.set(number, (begun.get(number) ?? 0) + 1);
    if (event === 'done') done.add(number);
  }
  const held = new Set([...queued, ...unacked].map(numberOf));
  const numbers = Array.from({ length: sent }, (_, number) => number).filter(
    (number) => !known.has(number),
  );
  const open = numbers.filter((number) => !done.has(number));
  const gone = open.filter((number) => !held.has(number));
  const twice = numbers.filter((each) => each >= first && (begun.get(each) ?? 0) > 1);
  return {
    sent: sent - first,
    lost: gone.filter((number) => !begun.has(number)),
    cut: gone.filter((number) => begun.has(number)),
    waiting: open.filter((number) => held.has(number)),
    twiceEarly: twice.filter((number) => number % 2 === 0),
    twiceLate: twice.filter((number) => number % 2 === 1),
  };
}

/** The id of a numbered task is its number. */
const numberOf = (id: string): number => Number.parseInt(id.replaceAll('-', ''), 16);

/** Faults under which no deploy can save a running task: the worker or its disk is gone. */
const CUTS: readonly Fault[] = ['power', 'worker-frozen', 'disk-full'];
/** When a worker is killed, Kombu may hold one message that is in no list. */
const IN_HAND: readonly Fault[] = ['power', 'worker-frozen'];
/** The worker cannot acknowledge to the broker, or the sender gets no reply. */
const UNSAID: readonly Fault[] = ['power', 'worker-frozen', 'redis-away'];

export interface Verdict {
  /** The name of the release that the host matches completely; null: none. */
  readonly ending: string | null;
  readonly wrong: readonly string[];
}

/** Whether this host matches one of `wholes` completely, without leftovers. */
export function judge(
  fault: Fault | null,
  before: Seen,
  seen: Seen,
  wholes: readonly Whole[],
  tasks: Tally,
): Verdict {
  const ending = wholes.find((whole) => differences(whole, seen).length === 0) ?? null;
  const wrong = [
    ...(ending === null ? [tellMixture(wholes, seen)] : []),
    ...judgeUnit(before, seen),
    ...judgeRest(before, seen, ending),
    ...judgeTasks(fault, tasks),
  ];
  return { ending: ending?.name ?? null, wrong };
}

function differences(whole: Whole, seen: Seen): readonly string[] {
  return [
    whole.unitText === seen.unitText ? '' : 'unit',
    whole.support === seen.support ? '' : 'support module',
    whole.commit === seen.commit ? '' : 'commit',
    whole.version === seen.versions.join() ? '' : `dependencies (${seen.versions.join()})`,
  ].filter((name) => name !== '');
}

const tellMixture = (wholes: readonly Whole[], seen: Seen): string =>
  `neither ${wholes.map((whole) => `${whole.name} (other: ${differences(whole, seen).join(', ')})`).join(' nor ')}`;

function judgeUnit(before: Seen, { unitText, show, children, dropIns }: Seen): readonly string[] {
  const wrong: string[] = [];
  const asked = /^MemoryMax=(\d+)M$/m.exec(unitText)?.[1];
  const limit = asked === undefined ? 'infinity' : String(Number(asked) * 1024 * 1024);
  if (show.ActiveState !== 'active') wrong.push(`the worker is ${show.ActiveState}`);
  else if (children === 0) wrong.push('the worker has no child');
  else if (show.MemoryMax !== limit) wrong.push(`the effective MemoryMax is ${show.MemoryMax}`);
  if (show.NeedDaemonReload !== 'no') wrong.push('systemd has not loaded the current unit file');
  if (show.UnitFileState !== 'enabled') wrong.push(`the unit is ${show.UnitFileState}`);
  if (JSON.stringify(dropIns) !== JSON.stringify(before.dropIns)) {
    wrong.push(`drop-ins: ${Object.keys(dropIns).join(', ') || 'gone'}`);
  }
  return wrong;
}

/** Nothing runs any more, and there are no leftovers. */
function judgeRest(before: Seen, seen: Seen, ending: Whole | null): readonly string[] {
  const wrong: string[] = [];
  if (seen.armed || seen.active.length > 0) wrong.push(`the guard is still armed: ${seen.active}`);
  if (before.sampled && !seen.sampled) wrong.push('the release is not sampled');
  if (seen.locked) wrong.push('the lock is held');
  if (seen.jobs !== '') wrong.push(`systemd has jobs: ${seen.jobs}`);
  if (seen.awaiting.length > 0) wrong.push(`still awaits a verdict: ${seen.awaiting.join(', ')}`);
  for (const [id, last] of Object.entries(seen.transactions)) {
    if (!last.includes('"event": "ended"')) wrong.push(`transaction ${id} is open: ${last}`);
    else if (last.includes('undo-failed')) wrong.push(`transaction ${id} could not be undone`);
  }
  if (seen.failed !== before.failed) wrong.push(`failed units: ${seen.failed}`);
  if (seen.dirty !== '') wrong.push(`uncommitted changes: ${seen.dirty.replaceAll('\n', ', ')}`);
  if (seen.branch !== before.branch) wrong.push(`the checkout is on ${seen.branch}`);
  const strays = without(seen.processes.map(sameProcess), before.processes.map(sameProcess));
  if (strays.length > 0) wrong.push(`stray processes: ${strays.join('; ')}`);
  const left = without(seen.files, before.files).filter((path) => !isExpected(path, ending));
  if (left.length > 0) wrong.push(`left behind: ${tellSome(left)}`);
  const missing = without(before.files, seen.files).filter((path) => !isExpected(path, ending));
  if (missing.length > 0) wrong.push(`missing: ${tellSome(missing)}`);
  return [...wrong, ...judgeCopies(before, seen, ending)];
}

/** At most two copies of the environment, and none of an undone installation. */
function judgeCopies(before: Seen, seen: Seen, ending: Whole | null): readonly string[] {
  const copies = copiesIn(seen);
  if (copies.length > 2) return [`copies of the environment: ${copies.join(', ')}`];
  if (ending === null || ending.commit !== before.commit) return [];
  const more = without(copies, copiesIn(before));
  return more.length === 0 ? [] : [`a copy of the environment is left: ${more.join(', ')}`];
}

const copiesIn = ({ files }: Seen): readonly string[] => [
  ...new Set(files.flatMap((path) => COPY.exec(path)?.[1] ?? [])),
];
const COPY = /^\/srv\/venv\/\.celeriac\/([^/]+?)(?:\.failed)?$/;

const without = (some: readonly string[], others: readonly string[]): readonly string[] => {
  const known = new Set(others);
  return some.filter((each) => !known.has(each));
};

const tellSome = (names: readonly string[]): string =>
  `${names.slice(0, 8).join(', ')}${names.length > 8 ? `, and ${names.length - 8} more` : ''}`;

/** Titles that change: sshd shows the number of logins, a worker what it does. */
const sameProcess = (command: string): string => command.replace(/ \[listener\].*$/, '');

/** Files that a release adds, and that Celeriac keeps on purpose. */
const KEPT = [
  // Files of the app and its release: `git status`, the commit and the versions cover them.
  /^\/root\/slideshow\/backend\//,
  /^\/srv\/venv\/lib\/[^/]+\/site-packages\/probe_/,
  // Covered by name.
  /^\/srv\/venv\/\.celeriac(?:\/|$)/,
  // Of restarted services.
  /^\/(?:var\/)?tmp\/systemd-private-/,
  /^\/tmp\/pymp-/,
  /^\/var\/lib\/celeriac(?:\/(?:lock|version|program\.py|releases\.jsonl|awaiting|backups|transactions|incoming|dependencies|running|notices\.json|resets\.json|sampled|samples|sampler\.lock))?$/,
  /^\/var\/lib\/celeriac\/sampled\/[^/]+\.(?:json|seen|seen\.new)$/,
  /^\/var\/lib\/celeriac\/samples\/[^/]+\.jsonl(?:\.1)?$/,
  /^\/var\/lib\/celeriac\/running\/[^/]+\.json$/,
  /^\/var\/lib\/celeriac\/incoming\/[0-9a-f]{64}$/,
  /^\/var\/lib\/celeriac\/backups\/[^/]+\.db$/,
  /^\/var\/lib\/celeriac\/transactions\/[^/]+(?:\/(?:plan\.json|journal\.jsonl|backups(?:\/\d+)?))?$/,
  /^\/etc\/systemd\/system\/celeriac-(?:guard|sampler)\.(?:service|timer)$/,
  /^\/etc\/systemd\/system\/timers\.target\.wants\/celeriac-sampler\.timer$/,
  /^\/etc\/systemd\/system\/timers\.target\.wants$/,
];
const OF_SUPPORT = /^\/usr\/local\/lib\/celeriac(?:\/[0-9a-f]{12}(?:\/celeriac_support\.py)?)?$/;

const OF_DEPENDENCIES = /^\/var\/lib\/celeriac\/dependencies\/[^/]+\.json$/;

const isExpected = (path: string, ending: Whole | null): boolean =>
  KEPT.some((pattern) => pattern.test(path)) ||
  (OF_SUPPORT.test(path) && ending?.support !== null) ||
  (OF_DEPENDENCIES.test(path) && ending?.version !== '');

function judgeTasks(fault: Fault | null, { lost, cut, twiceEarly }: Tally): readonly string[] {
  const wrong: string[] = [];
  const inHand = fault !== null && IN_HAND.includes(fault) ? 1 : 0;
  if (lost.length > inHand) wrong.push(`tasks lost: ${tellSome(lost.map(String))}`);
  if (cut.length > 0 && (fault === null || !CUTS.includes(fault))) {
    wrong.push(`tasks begun and never ended: ${tellSome(cut.map(String))}`);
  }
  if (twiceEarly.length > 0 && (fault === null || !UNSAID.includes(fault))) {
    wrong.push(`early-acknowledged tasks ran twice: ${tellSome(twiceEarly.map(String))}`);
  }
  return wrong;
}

/** Which release the running worker has: its latest task shows it. */
export function judgeRunning(notes: readonly Note[], whole: Whole): readonly string[] {
  const last = notes.findLast(({ event }) => event === 'begun');
  if (last === undefined) return ['no task has begun'];
  return last.release === whole.name && last.version === (whole.version || 'none')
    ? []
    : [`the running worker is release ${last.release} with ${last.version}, not ${whole.name}`];
}
