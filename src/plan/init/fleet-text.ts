import { ownBeats } from '../../celery/beat.ts';
import { findCeleryCall } from '../../celery/celery-call.ts';
import { identityOf } from '../../celery/strays.ts';
import type { FactAnswers } from '../../model/facts.ts';
import type { CodeTree } from '../../model/release.ts';
import { databaseLines } from './database-lines.ts';
import type { UnitWorker } from './find-workers.ts';
import { comment, entry } from './fleet-lines.ts';
import { keptLines } from './kept-limits.ts';
import { inputSize, type Sizing } from './size-worker.ts';

/** How the pipeline reaches the host, as far as it is not by default. */
export interface Reach {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** The text of `proxy-jump`; `''`: none. */
  readonly jump: string;
}

/** Where Celeriac itself is: `owner/celeriac`, and the version without its `v`. */
export interface Home {
  readonly repository: string;
  readonly version: string;
}

/** What the host showed about the worker that was chosen. */
export interface WorkerFacts extends Pick<FactAnswers, 'stores' | 'companions' | 'beats'> {
  readonly worker: UnitWorker;
  readonly sizing: Sizing;
  readonly tree: CodeTree;
  /** Whether this repository has the commit of the checkout from which the worker runs. */
  readonly isThisRepository: boolean;
}

/**
 * The fleet file of one host. A line that is no comment is known; what is only likely is a comment.
 *
 * @param standing the file that is there; `null`: none
 */
export function fleetText(
  reach: Reach,
  facts: WorkerFacts,
  home: Home,
  standing: string | null = null,
): string {
  const unit = facts.worker.unit.name;
  const { repository, version } = home;
  const { host, port, user, jump } = reach;
  const docs = `https://github.com/${repository}/blob/v${version}/docs/reference/fleet-file.md`;
  return [
    `# yaml-language-server: $schema=https://raw.githubusercontent.com/${repository}/v${version}/docs/reference/fleet.schema.json`,
    comment('Written by `celeriac init` from what the server showed; yours to edit.'),
    comment(`Every key: ${docs}`),
    entry('host', host),
    ...(port === 22 ? [] : [entry('port', port)]),
    ...(user === 'root' ? [] : [entry('user', user)]),
    ...(jump === '' ? [] : [entry('proxy-jump', jump)]),
    entry('unit', unit),
    '',
    ...databaseLines(facts.stores),
    '',
    ...deploySection([
      ...(keptLines(standing, { host, unit }, facts.sizing) ?? sizeLines(facts.sizing)),
      ...codeLines(facts),
      ...companionLines(facts),
    ]),
    '',
  ].join('\n');
}

function sizeLines(sizing: Sizing): readonly string[] {
  const { concurrency, memoryMaxBytes, memoryHighBytes, lines } = sizing;
  return [
    ...lines.map(comment),
    ...(concurrency === null ? [] : [entry('concurrency', concurrency)]),
    ...(memoryMaxBytes === null ? [] : [entry('memory-max', inputSize(memoryMaxBytes))]),
    ...(memoryHighBytes === null ? [] : [entry('memory-high', inputSize(memoryHighBytes))]),
  ];
}

/** Settings of deploy-worker alone: to verify, limits would be requirements. */
function deploySection(lines: readonly string[]): readonly string[] {
  const isEmpty = lines.every((line) => line.startsWith('#'));
  return isEmpty
    ? [comment('deploy-worker:'), ...lines.map((line) => line.replace(/^# /, '#   '))]
    : ['deploy-worker:', ...lines.map((line) => `  ${line}`)];
}

/** Whether `source: git` is written: deploys move the checkout from which the worker runs. */
export const movesCheckout = ({
  tree,
  isThisRepository,
}: Pick<WorkerFacts, 'tree' | 'isThisRepository'>): boolean =>
  tree.kind === 'checkout' && isThisRepository;

function codeLines(facts: WorkerFacts): readonly string[] {
  const { tree } = facts;
  if (tree.kind !== 'checkout') return [];
  if (movesCheckout(facts)) {
    return [
      comment(
        `The worker runs from ${tree.path}, a checkout of this repository: each deploy moves`,
      ),
      comment('it to the commit that was merged.'),
      entry('source', 'git'),
    ];
  }
  const head = tree.head.slice(0, 7);
  return [
    comment(
      `The worker runs from the checkout ${tree.path}, at a commit that this repository does`,
    ),
    comment(`not have (${head}). If it is one of this repository, deploys can move it:`),
    comment('source: git'),
  ];
}

function companionLines(facts: WorkerFacts): readonly string[] {
  const beside = besideWorker(facts);
  const workers = beside.filter(({ isWorker }) => isWorker).map(({ unit }) => unit);
  const others = beside.filter(({ isWorker }) => !isWorker).map(({ unit }) => unit);
  return [
    ...(others.length === 0
      ? []
      : [
          comment('These units run code of the app, too. To restart them with the worker:'),
          comment(`also-restart: ${others.join(', ')}`),
        ]),
    ...(workers.length === 0
      ? []
      : [
          comment(`Other workers of the app: ${workers.join(', ')}. Each is deployed by itself:`),
          comment('docs/how-to/several-workers.md.'),
        ]),
  ];
}

/** A unit that runs code of the app beside the worker. */
export interface Beside {
  readonly unit: string;
  /** `beat`, or the beginning of its command. */
  readonly what: string;
  /** Its restart has to wait for tasks: `also-restart` takes no worker. */
  readonly isWorker: boolean;
}

/** The companions that were found: beats of the app, and services in its folder. */
export function besideWorker({ worker, beats, companions }: WorkerFacts): readonly Beside[] {
  const { unit, call } = worker;
  const own =
    call.app === null
      ? []
      : ownBeats(beats, identityOf(unit, call.app, call.workingDirectory)).units;
  const names = new Set(own.map((beat) => beat.unit));
  return [
    ...own.map((beat) => ({ unit: beat.unit, what: 'beat', isWorker: false })),
    ...companions.beside
      .filter((each) => !names.has(each.unit))
      .map((each) => ({
        unit: each.unit,
        what: programOf(each.argv),
        isWorker: findCeleryCall(each.argv).kind === 'found',
      })),
  ];
}

/** `gunicorn` of `/srv/app/venv/bin/python /srv/app/venv/bin/gunicorn …`; no arguments: they may be secret. */
function programOf(argv: readonly string[]): string {
  const names = argv.slice(0, 3).map((word) => word.slice(word.lastIndexOf('/') + 1));
  const isPython = /^(?:python|pypy)[0-9.]*$/.test(names[0] ?? '');
  const [first = '?', second, third] = names;
  if (!isPython) return first;
  return (second === '-m' ? third : second?.startsWith('-') ? first : second) ?? first;
}
