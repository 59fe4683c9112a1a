import { singularOf, wordsOf } from './names.ts';

const words = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/));

// --- names of tables ----------------------------------------------------------------------------

/** Whatever precedes these nouns, such a row is work for a program: `order_tasks`, `user_imports`. */
const jobNouns = words(`
  job task subtask import export render transcode transcoding crawl scrape transcription sync`);

/** The same, unless the name is about business: not `payment_batches` or `user_links`. */
const workNouns = words(`
  batch run queue work link video upload download rendering conversion execution generation pipeline
  workflow process`);

/** A part of a job if the name says of what: `batch_variations`, `job_items`. */
const partNouns = words(`
  variation variant item part chunk step stage segment shard slice attempt unit entry row record
  page frame scene clip file image photo result output input element`);

/** A part even without such a prefix, if its parent holds jobs: `steps`, but not `items`. */
const bareParts = words(
  'variation part chunk step stage segment shard slice attempt frame scene clip',
);

/** People, money and goods: their rows may be "processing" for days without a worker. */
const businessNouns = words(`
  account address affiliate applicant appointment approval bill billing booking candidate cart
  charge checkout claim client company contact contract coupon customer deal delivery deposit
  donation employee enrollment hiring insurance invitation invoice lead loan magic member money
  offboarding onboarding order organisation organization password patient payment payout person
  policy product purchase quote recruiting recruitment referral refund reservation salary sale
  settlement shipment shop stock student subscriber subscription supplier support teacher team
  tenant ticket transaction transfer user vendor visa wallet warranty withdrawal`);

/** Work that only a program does, whatever else the name says: `video_tasks`, `user_exports`. */
const machineNouns = words(`
  import export render transcode transcoding crawl scrape transcription sync video upload download
  rendering execution generation encoding thumbnail backup etl webhook inference embedding`);

/** Not jobs by themselves; only in a name such as `project_jobs`. */
const sharedNouns = words('project campaign');

/** What a table's name says about its rows: jobs, parts of their parent, or neither. */
export type NamedAs = 'job' | 'part' | null;

/** Reads whole words: the last one says what a row is, those before it of what or of which app. */
export function readTableName(name: string): NamedAs {
  const nouns = nounsOf(name);
  const head = nouns.at(-1) ?? '';
  if (jobNouns.has(head)) return 'job';
  if (nouns.some((noun) => businessNouns.has(noun) || sharedNouns.has(noun))) return null;
  if (workNouns.has(head)) return 'job';
  if (!partNouns.has(head)) return null;
  if (nouns.slice(0, -1).some((noun) => jobNouns.has(noun) || workNouns.has(noun))) return 'job';
  return bareParts.has(head) ? 'part' : null;
}

/** Whether a name is about people, money or goods. */
export const isBusinessName = (name: string): boolean =>
  nounsOf(name).some((noun) => businessNouns.has(noun));

/** Whether its rows are of people, money or goods, and not work on these as `order_exports` are. */
export function isBusinessRecord(name: string): boolean {
  const head = nounsOf(name).at(-1) ?? '';
  return isBusinessName(name) && !jobNouns.has(head) && !workNouns.has(head);
}

/** Whether a name says that a program does the work. */
export const hasMachineNoun = (name: string): boolean =>
  nounsOf(name).some((noun) => machineNouns.has(noun));

const nounsOf = (name: string): readonly string[] =>
  wordsOf(name).flatMap((word) => splitCompound(singularOf(word)));

/** Django names the table of the model VideoJob of the app core `core_videojob`. */
function splitCompound(word: string): readonly string[] {
  const tail = /^(\p{L}{3,})(job|task|batch)$/u.exec(word);
  if (tail?.[1] && tail[2]) return [...splitCompound(tail[1]), tail[2]];
  const front = /^(job|task|batch|video)(\p{L}+)$/u.exec(word);
  if (!front?.[1] || !front[2]) return [word];
  const others = splitCompound(front[2]);
  return others.every(isWorkNoun) ? [front[1], ...others] : [word];
}

const isWorkNoun = (noun: string): boolean =>
  jobNouns.has(noun) || workNouns.has(noun) || partNouns.has(noun);

// --- words of a status --------------------------------------------------------------------------

const waitingWords = words(`
  pending queued enqueued waiting scheduled submitted received notstarted deferred`);

const unfinishedWords = new Set([
  ...waitingWords,
  ...words(`processing running started inprogress working executing retry retrying stalled`),
]);

const endedWords = words(`
  completed complete done finished success succeeded successful failed failure fail error errored
  cancelled canceled cancelling aborted revoked interrupted killed stopped timeout timedout skipped
  partial partiallycompleted dead`);

/** Other words for an end. None for work that is going on: rows in such a status would be changed. */
const sameEnds: Readonly<Partial<Record<string, ReadonlySet<string>>>> = {
  completed: words('complete done finished success succeeded successful'),
  partial: words('partiallycompleted'),
  failed: words('fail failure error errored'),
  cancelled: words('canceled'),
};

/** Statuses of money and goods only; even with a Celery task id, such a row is not a job. */
const tradeWords = words(`
  paid unpaid partiallypaid prepaid refunded partiallyrefunded charged captured authorized
  authorised settled disputed chargeback voided invoiced overdue shipped delivered dispatched packed
  returned backordered fulfilled unfulfilled reserved booked confirmed unconfirmed checkedin checkedout
  noshow subscribed unsubscribed trialing pastdue`);

/** Statuses of records that are kept or published, or that people work on. */
const recordWords = words(`
  inactive suspended banned blocked verified unverified registered invited deactivated archived
  draft published unpublished public private approved rejected accepted declined review underreview
  inreview applied hired interview open opened closed reopened resolved todo backlog wontfix
  assigned unassigned won lost`);

/** Statuses of work that a program does; people do not write these. */
const machineWords = words(`
  queued enqueued running executing retry retrying stalled timeout timedout revoked`);

const plain = (status: string): string => status.toLowerCase().replace(/[^\p{L}\d]+/gu, '');

/** Whether a row in this status waits or is being worked on, in the app's own words. */
export const isUnfinishedWord = (status: string): boolean => unfinishedWords.has(plain(status));

/** Whether only a program writes this status. */
export const isMachineWord = (status: string): boolean => machineWords.has(plain(status));

/** Whether a status is another word for this end: `Error` for `failed`. */
export const isSameEnd = (status: string, end: string): boolean =>
  sameEnds[end]?.has(plain(status)) ?? false;

/** What a status of the app probably means, for an example; `null`: it says nothing. */
export function guessMeaning(status: string): string | null {
  const end = Object.keys(sameEnds).find((word) => isSameEnd(status, word));
  if (end !== undefined) return end;
  const word = plain(status);
  if (waitingWords.has(word)) return 'pending';
  if (unfinishedWords.has(word)) return 'processing';
  return endedWords.has(word) ? 'failed' : null;
}

/** How many statuses an explanation lists. */
const shown = 5;

/**
 * Why the values of a status column are not those of jobs; `null` when they may be, or when they are
 * unknown.
 *
 * @param known other evidence that the table holds jobs: with task ids, its rows may have statuses of
 * their own such as published or archived, but not those of money
 */
export function doubtStatuses(
  statuses: readonly (string | number)[] | undefined,
  known: 'by task' | 'by name',
): string | null {
  const seen = (statuses ?? []).map(String).filter((status) => status.trim() !== '');
  if (seen.length === 0) return null;
  if (seen.every((status) => /^\d+$/.test(status))) {
    return `its statuses are numbers (${some(seen)}); say what each means, for example \`words: { ${exampleFor(seen)} }\``;
  }
  const strange = seen.filter((status) => {
    const word = plain(status);
    return tradeWords.has(word) || (known === 'by name' && recordWords.has(word));
  });
  if (strange.length > 0) return `it has statuses that jobs do not have (${some(strange)})`;
  if (known === 'by task') return null;
  const jobs = seen.some((each) => isUnfinishedWord(each) || endedWords.has(plain(each)));
  return jobs ? null : `none of its statuses is a status of jobs (${some(seen)})`;
}

/** Which number means what is a guess: the app's own code says it. */
const exampleFor = (numbers: readonly string[]): string =>
  numbers
    .toSorted((a, b) => Number(a) - Number(b))
    .slice(0, shown)
    .map((number, at) => `${number}: ${exampleWords[at] ?? 'failed'}`)
    .join(', ');

const exampleWords = ['pending', 'processing', 'completed', 'failed', 'cancelled'] as const;

const some = (list: readonly string[]): string =>
  `${list
    .slice(0, shown)
    .map((each) => each.slice(0, 30))
    .join(', ')}${list.length > shown ? ', …' : ''}`;

// --- counters -----------------------------------------------------------------------------------

const counted =
  'pending|processing|completed|complete|done|finished|processed|succeeded|successful|failed|cancelled|canceled';
const before = new RegExp(`^(?:${counted})_(.+)$`);
const after = new RegExp(`^(.+)_(?:${counted})$`);

/** What a column counts by how it ended: `completed_links` → `link`, `videos_failed` → `video`. */
export function countedNoun(column: string): string | null {
  const found = before.exec(column) ?? after.exec(column);
  return found?.[1] === undefined ? null : singularOf(found[1]);
}
