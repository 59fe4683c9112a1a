import type { Plan } from '../../../../src/model/operation.ts';

/** Where the work stands when the fault comes. */
export const PHASES = ['before', 'in', 'unsaid', 'after'] as const;
/** How far the writing of a file is when the fault comes. */
export const CUTS = ['created', 'written', 'synced', 'renamed'] as const;
export type Phase = (typeof PHASES)[number] | (typeof CUTS)[number];

/** What happens then. */
export const FAULTS = [
  'work-killed',
  'runner-killed',
  'all-killed',
  'link-cut',
  'reboot',
  'power-cut',
  'state-full',
  'disk-full',
] as const;
export type Fault = (typeof FAULTS)[number];

/** What a transaction does after its operations: a row of the matrix like theirs. */
const RELEASE = 'release';

/** For files: the writer dies alone, with the run, or with the host. */
const FILE_FAULTS = ['work-killed', 'all-killed', 'power-cut'] as const;

/** A file that the deploy writes, and who does. */
export interface Written {
  /** `<id>` stands for the transaction. */
  readonly path: string;
  readonly by: 'agent' | 'work';
}

export interface Case {
  /** Of the operation in the plan, their number: the release; or of the file. */
  readonly index: number;
  /** Or the path of a file. */
  readonly op: string;
  readonly phase: Phase;
  readonly fault: Fault;
}

export type Ending = 'old' | 'new';

export interface Verdict {
  readonly ending: Ending;
  /** What the run itself was told, where there still was one. */
  readonly told: string;
}

export const nameOf = ({ op, index, phase, fault }: Case): string =>
  `${fault}, ${phase} ${op} (${index})`;

/** Every operation of the plan × every phase × every fault. */
export function allCases(plan: Plan): readonly Case[] {
  return opsOf(plan).flatMap((op, index) =>
    PHASES.flatMap((phase) => FAULTS.map((fault) => ({ index, op, phase, fault }))),
  );
}

export const isFile = ({ op }: Pick<Case, 'op'>): boolean => op.startsWith('/');

/**
 * Every file × every moment of its writing × every fault. What the agent writes before the work
 * begins has no writer that could die alone.
 */
export function fileCases(files: readonly Written[]): readonly Case[] {
  return files.flatMap(({ path: op, by }, index) =>
    CUTS.flatMap((phase) =>
      FILE_FAULTS.filter((fault) => by === 'work' || fault !== 'work-killed').map((fault) => ({
        index,
        op,
        phase,
        fault,
      })),
    ),
  );
}

/** Every file and moment once, with faults by turns. */
export function someFileCases(files: readonly Written[]): readonly Case[] {
  return Map.groupBy(fileCases(files), ({ op, phase }) => `${phase} ${op}`)
    .values()
    .map((each, turn) => each[turn % each.length] as Case)
    .toArray();
}

/** One for each fault, spread over the operations: as many as a test run has time for. */
export function someCases(plan: Plan): readonly Case[] {
  const ops = opsOf(plan);
  return FAULTS.map((fault, at) => {
    // From the first operation to the release at the end.
    const index = Math.round((at * (ops.length - 1)) / (FAULTS.length - 1));
    const phase = PHASES[(at + Math.floor(at / PHASES.length)) % PHASES.length] as Phase;
    return { index, op: ops[index] as string, phase, fault };
  });
}

/** The power goes once in each operation, in phases by turns. */
export function powerCuts(plan: Plan): readonly Case[] {
  return opsOf(plan).map((op, index) => {
    const phase = PHASES[index % PHASES.length] as Phase;
    return { index, op, phase, fault: 'power-cut' };
  });
}

/**
 * In an order that has gone over every operation, phase and fault long before its end: each eighth
 * of it has one fault for each place, and another one at the next.
 */
export function spread(cases: readonly Case[]): readonly Case[] {
  const turn = ({ index, phase, fault }: Case): number =>
    (FAULTS.indexOf(fault) + [...PHASES, ...CUTS].indexOf(phase) + index) % FAULTS.length;
  return cases.toSorted((one, other) => turn(one) - turn(other));
}

const opsOf = ({ operations }: Plan): readonly string[] => [
  ...operations.map(({ op }) => op),
  RELEASE,
];
