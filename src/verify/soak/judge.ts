import { formatCount, formatDuration, formatInstant } from '../../model/quantities.ts';
import type { Sample } from '../../model/sample.ts';
import type {
  SoakAspect,
  SoakFault,
  SoakGap,
  SoakHour,
  SoakLimitId,
  SoakLimits,
  SoakVerdict,
} from '../../model/soak.ts';
import { type EpochSeconds, epochSeconds, seconds } from '../../model/units.ts';
import { clockJump, type SoakEvidence, sampleBefore, samplesSince } from './evidence.ts';
import { findLeak, type HourlyFloor } from './leak.ts';
import {
  type Down,
  downNow,
  elapsed,
  faultsOf,
  growingMinutes,
  isForeignRestart,
  isSameRun,
  longestMinute,
  notDown,
  waitingMessages,
} from './minute.ts';

/** A larger share of gaps leaves a release unproven. */
const mostGaps = 0.05;
/** The newest faults and gaps that are kept. */
const shown = 50;

/** A restart in this many of the last ten minutes is a crash loop. */
const crashLoop = { restarts: 5, minutes: 10 };

/**
 * The verdict on a release by the samples since it is unproven.
 *
 * They are judged one by one, and the first that decides, decides: later ones change nothing, so
 * that it does not matter when, how often and in which order this is called.
 */
export function judgeSoak(evidence: SoakEvidence, limits: SoakLimits): SoakVerdict {
  const soak = new Soak(evidence, limits);
  for (const sample of samplesSince(evidence)) {
    if (soak.isDecided) break;
    soak.take(sample);
  }
  return soak.verdict();
}

class Soak {
  readonly #evidence: SoakEvidence;
  readonly #limits: SoakLimits;
  #covered = 0;
  #gapped = 0;
  #failing = 0;
  #inARow = 0;
  #last: Sample | null = null;
  #recent: Sample[] = [];
  #restarts: EpochSeconds[] = [];
  readonly #faults: SoakFault[] = [];
  readonly #gaps: SoakGap[] = [];
  readonly #hours: { at: number; covered: number; gap: number; failing: number }[] = [];
  readonly #notes: string[] = [];
  readonly #known = new Map<SoakLimitId, number>();
  readonly #counts = new Map<SoakLimitId, number>();
  #minutes = 0;
  #dropped = 0;
  #unread = 0;
  #limited = 0;
  #first: Sample | null = null;
  #down: Down = notDown;
  #floors: HourlyFloor[] = [];
  #hour: { at: number; bytes: number } | null = null;
  #decided: { state: 'proven' | 'failed'; at: EpochSeconds; why: SoakFault | null } | null = null;

  readonly #earlier: Sample | null;

  constructor(evidence: SoakEvidence, limits: SoakLimits) {
    this.#evidence = evidence;
    this.#earlier = sampleBefore(evidence);
    this.#limits = limits;
  }

  get isDecided(): boolean {
    return this.#decided !== null;
  }

  take(sample: Sample): void {
    const before = this.#last;
    this.#last = sample;
    this.#first ??= sample;
    const from = before?.at ?? this.#evidence.since;
    const span = before === null ? sample.at - from : elapsed(before, sample);
    this.#noteChanges(before ?? this.#earlier, sample);
    // A unit that could not be looked at is no evidence.
    const isKnown = sample.unit !== null && (before === null || before.unit !== null);
    if (span > longestMinute || (!isKnown && span > 0)) {
      this.#addGap({ from, to: sample.at, why: whyGap(before, sample, span) }, span);
      this.#recent = [];
      this.#down = notDown;
    } else if (span > 0) {
      this.#spend('covered', span, sample.at);
    }
    this.#recent = [...this.#recent, sample].slice(-growingMinutes - 1);
    this.#remember(sample);
    this.#judgeMinute(before ?? this.#earlier ?? sample, sample);
    this.#decide(sample);
  }

  verdict(): SoakVerdict {
    const { since, now } = this.#evidence;
    const wanted = this.#limits.wanted;
    const decided = this.#decided;
    const openFrom = this.#last?.at ?? since;
    const isOpen = decided === null && now - openFrom > longestMinute;
    const open: readonly SoakGap[] = isOpen
      ? [{ from: openFrom, to: now, why: 'no samples yet' }]
      : [];
    const gapped = this.#gapped + (isOpen ? now - openFrom : 0);
    const state = decided?.state ?? 'unproven';
    const left = Math.max(
      wanted - this.#covered,
      // So many gaps are made up for by a longer soak only.
      gapped / mostGaps - gapped - this.#covered,
      0,
    );
    const failure = decided?.why ?? null;
    return {
      state,
      sentence: this.#describe(state, gapped, failure),
      since,
      decidedAt: decided?.at ?? null,
      wantedSeconds: wanted,
      coveredSeconds: seconds(this.#covered),
      gapSeconds: seconds(gapped),
      earliestEnd: decided === null ? epochSeconds(now + left) : null,
      failure: failure === null ? null : { ...failure, evidence: this.#evidenceOf() },
      failingMinutes: this.#failing,
      faults: this.#faults.slice(-shown),
      gaps: [...this.#gaps, ...open].slice(-shown),
      hours: this.#hours.map(toHour),
      aspects: this.#aspects(),
      notes: [
        ...this.#notes.slice(-shown),
        ...(this.#dropped === 0
          ? []
          : [
              `journald dropped ${formatCount(this.#dropped, 'line')}: errors and 429s are lower bounds.`,
            ]),
        ...(this.#unread === 0
          ? []
          : [
              `The journal had more lines than are read in ${formatCount(this.#unread, 'minute')}: errors and 429s are lower bounds.`,
            ]),
        ...(this.#limited === 0 || this.#limits.rateLimitMax !== null
          ? []
          : [
              `${formatCount(this.#limited, 'response')} with HTTP 429; no number fails the release, because \`rate-limit-max\` is not set.`,
            ]),
      ],
    };
  }

  #noteChanges(before: Sample | null, sample: Sample): void {
    if (before === null) return;
    const at = formatInstant(sample.at);
    if (before.boot !== sample.boot) this.#notes.push(`The host was rebooted, seen at ${at}.`);
    const jump = clockJump(before, sample);
    if (jump !== 0) {
      const way = jump < 0 ? 'back' : 'forward';
      this.#notes.push(
        `The clock of the host was set ${way} by ${formatDuration(Math.abs(jump))}, to ${at}.`,
      );
    }
    if (isForeignRestart({ before, sample, transactions: this.#evidence.transactions })) {
      this.#notes.push(`The worker was restarted, by neither systemd nor Celeriac, seen at ${at}.`);
    }
  }

  #addGap(gap: SoakGap, span: number): void {
    this.#spend('gap', span, gap.to);
    const last = this.#gaps.at(-1);
    if (last !== undefined && last.to === gap.from && last.why === gap.why) {
      this.#gaps[this.#gaps.length - 1] = { ...last, to: gap.to };
    } else {
      this.#gaps.push(gap);
    }
  }

  /** Adds time up to `until` to the strip of hours, which no clock changes. */
  #spend(kind: 'covered' | 'gap', span: number, until: EpochSeconds): void {
    let left = span;
    while (left > 0) {
      const hour = this.#hourNow(until - left);
      const part = Math.min(left, 3600 - hour.covered - hour.gap);
      hour[kind] += part;
      left -= part;
    }
    if (kind === 'covered') this.#covered += span;
    else this.#gapped += span;
  }

  /** The hour that is not over. */
  #hourNow(at: number) {
    const last = this.#hours.at(-1);
    if (last !== undefined && last.covered + last.gap < 3600 - 1e-6) return last;
    const hour = { at, covered: 0, gap: 0, failing: 0 };
    this.#hours.push(hour);
    return hour;
  }

  #remember(sample: Sample): void {
    this.#minutes += 1;
    this.#dropped += sample.journal?.dropped ?? 0;
    this.#unread += sample.journal?.unread === true ? 1 : 0;
    this.#limited += sample.journal?.rateLimited ?? 0;
    const know = (limit: SoakLimitId, known: boolean): void => {
      if (known) this.#known.set(limit, (this.#known.get(limit) ?? 0) + 1);
    };
    know('unit', sample.unit !== null);
    know('restarts', sample.unit !== null);
    know('oom', sample.events !== null);
    const { memory, journal, worker } = sample;
    know('memory', memory !== null && (memory.max === null || memory.anon !== null));
    const isRead = journal !== null && journal.unread !== true;
    know('rate-limits', isRead);
    know('errors', isRead);
    know('queues', waitingMessages(sample) !== null && worker?.processed !== null);
    know('disk', sample.disk.length > 0);
    const hasOwn = memory !== null && memory.anon !== null;
    know('leak', hasOwn && (memory.high ?? memory.max) !== null);
  }

  #judgeMinute(before: Sample, sample: Sample): void {
    const { transactions } = this.#evidence;
    const change = { before, sample, transactions };
    this.#down = downNow(this.#down, change);
    const scene = {
      ...change,
      recent: this.#recent,
      first: this.#first ?? sample,
      down: this.#down,
    };
    const found = faultsOf(scene, this.#limits);
    const leak = this.#followMemory(before, sample);
    for (const fault of [...found, ...leak]) {
      this.#faults.push(fault);
      this.#counts.set(fault.limit, (this.#counts.get(fault.limit) ?? 0) + 1);
      if (fault.limit === 'restarts') this.#restarts.push(fault.at);
    }
    this.#inARow = found.length > 0 ? this.#inARow + 1 : 0;
    if (found.length > 0) {
      this.#failing += 1;
      // A minute that ends an hour is of that hour.
      (this.#hours.at(-1) ?? this.#hourNow(sample.at)).failing += 1;
    }
    const [first = null] = leak;
    if (first !== null) this.#decided = { state: 'failed', at: sample.at, why: first };
  }

  /** Closes an hour of the same run of the worker, and looks for a leak in all of them. */
  #followMemory(before: Sample, sample: Sample): readonly SoakFault[] {
    const { memory } = sample;
    // The cache of files grows with what the worker reads and writes, and goes when memory is short.
    const own = memory?.anon ?? null;
    if (memory === null || own === null) return [];
    if (!isSameRun(before, sample) && before !== sample) {
      this.#floors = [];
      this.#hour = null;
    }
    this.#hour ??= { at: sample.at, bytes: own };
    this.#hour.bytes = Math.min(this.#hour.bytes, own);
    const age = sample.at - this.#hour.at;
    if (age >= 0 && age < 3600) return [];
    // A clock that was set back begins the hour anew.
    if (age >= 3600) this.#floors.push({ at: sample.at, bytes: this.#hour.bytes });
    this.#hour = null;
    const leak = findLeak(this.#floors.slice(1), memory);
    return leak === null ? [] : [leak];
  }

  #decide({ at }: Sample): void {
    if (this.#decided !== null) return;
    const fault = this.#faults.at(-1) ?? null;
    const { consecutive, failureLimit, wanted } = this.#limits;
    const tooMany = this.#failing > failureLimit;
    const tooLong = consecutive > 0 && this.#inARow >= consecutive;
    if (fault !== null && (tooMany || tooLong)) {
      this.#decided = { state: 'failed', at, why: this.#asCrashLoop(fault) };
      return;
    }
    const whole = this.#covered + this.#gapped;
    if (this.#covered < wanted || this.#gapped > whole * mostGaps) return;
    this.#decided = { state: 'proven', at, why: null };
  }

  /** Many restarts have one cause, and one sentence. */
  #asCrashLoop(fault: SoakFault): SoakFault {
    const recent = this.#restarts.filter((at) => at > fault.at - crashLoop.minutes * 60);
    if (fault.limit !== 'restarts' || recent.length < crashLoop.restarts) return fault;
    return {
      ...fault,
      sentence: `The worker keeps restarting: in ${recent.length} of the last ${crashLoop.minutes} minutes.`,
    };
  }

  #describe(state: SoakVerdict['state'], gapped: number, failure: SoakFault | null): string {
    const done = `${hoursOf(this.#covered)} of ${hoursOf(this.#limits.wanted)}`;
    const gaps = gapped === 0 ? '' : `, gaps of ${formatDuration(gapped)}`;
    if (state === 'failed' && failure !== null) {
      const failing = formatCount(this.#failing, 'failing minute');
      const allowed = failure.limit === 'leak' ? '' : `, ${this.#limits.failureLimit} allowed`;
      return `Failed after ${hoursOf(this.#covered)}, at ${formatInstant(failure.at)}: ${failure.sentence} (${failing}${allowed})`;
    }
    if (state === 'proven') {
      const unknown = this.#aspects().filter(({ verdict }) => verdict === 'unknown');
      const names = unknown.map(({ title }) => title.toLowerCase()).join(', ');
      const failing =
        this.#failing === 0 ? '' : ` (${formatCount(this.#failing, 'failing minute')})`;
      return `Proven: ${done} without a failure${failing}${gaps}${names === '' ? '' : `; not known: ${names}`}.`;
    }
    const whole = this.#covered + gapped;
    const many = whole > 0 && gapped > whole * mostGaps;
    const share = many
      ? `; more than ${mostGaps * 100} % of the time is without evidence, so the soak is extended`
      : '';
    return `Unproven: ${done}${gaps}${share}.`;
  }

  #evidenceOf(): readonly string[] {
    return this.#faults.slice(-20).map(({ at, sentence }) => `${formatInstant(at)}  ${sentence}`);
  }

  #aspects(): readonly SoakAspect[] {
    return Object.entries(titles).map(([name, title]) => {
      const limit = name as SoakLimitId;
      const faults = this.#counts.get(limit) ?? 0;
      const known = this.#known.get(limit) ?? 0;
      const missing = this.#minutes - known;
      const seen = `${formatCount(faults, 'fault')} in ${formatCount(known, 'minute')}`;
      if (faults > 0) {
        const verdict = this.#decided?.state === 'failed' ? 'fail' : 'warn';
        return { limit, title, verdict, seen };
      }
      // Unknown is never pass: what is mostly not known proves nothing.
      const isKnown = this.#minutes > 0 && missing <= this.#minutes * mostGaps;
      const unknown = missing === 0 ? '' : `; not known in ${formatCount(missing, 'minute')}`;
      return { limit, title, verdict: isKnown ? 'pass' : 'unknown', seen: `${seen}${unknown}` };
    });
  }
}

const titles: Readonly<Record<SoakLimitId, string>> = {
  unit: 'Unit active',
  restarts: 'No restart',
  oom: 'No process killed',
  memory: 'Memory below MemoryMax',
  'rate-limits': 'HTTP 429',
  errors: 'Errors in the journal',
  queues: 'Queues drain',
  disk: 'Disk space',
  leak: 'No leak',
};

function whyGap(before: Sample | null, sample: Sample, span: number): string {
  if (span <= longestMinute) return 'the unit could not be inspected';
  if (before !== null && before.boot !== sample.boot) return 'the host was off or starting';
  return 'no samples';
}

const toHour = (hour: { at: number; covered: number; gap: number; failing: number }): SoakHour => ({
  at: epochSeconds(hour.at),
  coveredSeconds: seconds(hour.covered),
  gapSeconds: seconds(hour.gap),
  failingMinutes: hour.failing,
});

/** `7 h`, `6.5 h`, `3 min` for less than one. */
export function hoursOf(duration: number): string {
  if (duration < 3600) return formatDuration(duration);
  return `${Math.floor(duration / 360) / 10} h`;
}
