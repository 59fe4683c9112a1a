import { NoOperationTraceWriter } from '@actions/workflow-parser';
import { parseAction } from '@actions/workflow-parser/actions/action-parser';
import { convertActionTemplate } from '@actions/workflow-parser/actions/action-template';
import { parse } from 'yaml';
import { listReferences } from './expressions.ts';
import {
  findUseFaults,
  judgeStepReference,
  type KnownActions,
  type Manifest,
  nameOf,
  type Step,
} from './workflow-contract.ts';

/** What a step of a composite action gives to the action that it uses. */
export interface Passing {
  /**
   * Inputs that the step leaves out: each with the reason, or `given`, for a step that gives these and
   * no others.
   */
  readonly leaves?: Readonly<Record<string, string>>;
  readonly given?: readonly string[];
  /** Inputs whose value is not the input of the same name. */
  readonly values?: Readonly<Record<string, string>>;
}

interface Action extends Manifest {
  readonly description: string;
  readonly outputs?: Readonly<Record<string, { readonly value?: string }>>;
  readonly runs: { readonly using: string; readonly steps?: readonly Step[] };
}

/** GitHub's Marketplace refuses longer ones. */
const longestDescription = 124;

/**
 * What is wrong with an `action.yml`, one line a fault, by GitHub's own parser and these rules.
 *
 * @param passings of each step that uses an action of this repository, by the step's name
 */
export function findActionFaults(
  file: string,
  text: string,
  known: KnownActions,
  passings: Readonly<Record<string, Passing>> = {},
): readonly string[] {
  const syntax = findSyntaxFaults(file, text);
  if (syntax.length > 0) return syntax;
  const action = parse(text) as Action;
  const { description, runs } = action;
  const steps = runs.steps ?? [];
  const faults = steps.flatMap((step) =>
    [...findUseFaults(step, known), ...findPassingFaults(step, known, passings)].map(
      (fault) => `${nameOf(step)}: ${fault}`,
    ),
  );
  const names = steps.map(({ name }) => name);
  return [
    ...(description.length > longestDescription
      ? [`description: ${description.length} characters; expected at most ${longestDescription}`]
      : []),
    ...faults,
    ...(runs.using === 'composite' ? findReferenceFaults(action, steps, known) : []),
    ...Object.keys(passings)
      .filter((name) => !names.includes(name))
      .map((name) => `there is no step ${name}`),
  ];
}

function findSyntaxFaults(file: string, content: string): readonly string[] {
  const { context, value } = parseAction({ name: file, content }, new NoOperationTraceWriter());
  if (value !== undefined && context.errors.count === 0) convertActionTemplate(context, value);
  return context.errors.getErrors().map((error) => error.message);
}

/** Each input of the action is passed on, unless a list says why not. */
function findPassingFaults(
  { name = '', uses = '', with: given = {} }: Step,
  { actions }: KnownActions,
  passings: Readonly<Record<string, Passing>>,
): readonly string[] {
  const manifest = actions[uses];
  if (manifest === undefined) return [];
  const passing = passings[name];
  if (passing === undefined) return ['no list says which inputs it leaves out'];
  const { leaves = {}, given: alone, values = {} } = passing;
  const all = Object.keys(manifest.inputs ?? {});
  const expected = alone ?? all.filter((input) => !(input in leaves));
  return [
    ...expected.filter((input) => !(input in given)).map((input) => `does not pass on ${input}`),
    ...Object.keys(given)
      .filter((input) => !expected.includes(input))
      .map((input) => `passes on ${input}, which is listed as left out`),
    ...Object.keys(leaves)
      .filter((input) => !all.includes(input))
      .map((input) => `${input} is listed as left out, but ${uses} has no such input`),
    ...Object.entries(given)
      .filter(([input, value]) => value !== (values[input] ?? `\${{ inputs.${input} }}`))
      .map(([input, value]) => `${input} is ${value}`),
  ];
}

/** Inputs, and ids and outputs of earlier steps: what is not there is an empty text to GitHub. */
function findReferenceFaults(
  { inputs = {}, outputs = {} }: Action,
  steps: readonly Step[],
  known: KnownActions,
): readonly string[] {
  const faults: string[] = [];
  const used = new Set<string>();
  const earlier = new Map<string, Step>();
  const judge = (node: unknown, where: string): void => {
    for (const path of listReferences(node)) {
      const [root = '', name = ''] = path;
      if (root === 'inputs') used.add(name);
      const fault =
        root === 'steps'
          ? judgeStepReference(path, earlier, known)
          : root === 'inputs' && !(name in inputs)
            ? `${path.join('.')}: the action has no input ${name}`
            : isOfWorkflows(root)
              ? `${path.join('.')}: an action has no ${root}`
              : null;
      if (fault !== null) faults.push(`${where}: ${fault}`);
    }
  };
  for (const step of steps) {
    judge(step, nameOf(step));
    if (step.id === undefined) continue;
    if (earlier.has(step.id)) faults.push(`${nameOf(step)}: an earlier step has the id ${step.id}`);
    earlier.set(step.id, step);
  }
  for (const [name, { value }] of Object.entries(outputs)) judge(value, `output ${name}`);
  const unused = Object.keys(inputs).filter((name) => !used.has(name));
  return [...faults, ...unused.map((name) => `input ${name}: no step reads it`)];
}

/** Contexts that only a workflow has. */
const isOfWorkflows = (root: string): boolean => ['secrets', 'vars', 'needs'].includes(root);
