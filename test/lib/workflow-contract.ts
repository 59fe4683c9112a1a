import {
  convertWorkflowTemplate,
  NoOperationTraceWriter,
  parseWorkflow,
} from '@actions/workflow-parser';
import { parse } from 'yaml';
import { listReferences, type Path } from './expressions.ts';

/** What an `action.yml` or another workflow offers to those who use it. */
export interface Manifest {
  readonly inputs?: Readonly<Record<string, { readonly required?: boolean }>>;
  readonly outputs?: Readonly<Record<string, unknown>>;
}

/** What is known of the actions that are used. */
export interface KnownActions {
  /** Own actions by what stands after `uses:`, e.g. `./actions/verify` or `owner/name@v1.2.3`. */
  readonly actions: Readonly<Record<string, Manifest>>;
  /** Actions of others, by their names without a commit. */
  readonly others?: Readonly<Record<string, Manifest>>;
}

export interface ContractContext extends KnownActions {
  /** The workflow writes to hosts: one run at a time for each, and none is cut off. */
  readonly writesToHosts: boolean;
}

export interface Step {
  readonly if?: string;
  readonly id?: string;
  readonly name?: string;
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}

interface Job {
  readonly needs?: string | readonly string[];
  readonly permissions?: Readonly<Record<string, string>>;
  readonly environment?: string | { readonly name: string; readonly url?: string };
  readonly outputs?: Readonly<Record<string, string>>;
  readonly steps?: readonly Step[];
  readonly 'timeout-minutes'?: number;
}

interface Workflow {
  readonly name?: string;
  readonly on: Readonly<Record<string, { readonly inputs?: Readonly<Record<string, unknown>> }>>;
  readonly permissions?: unknown;
  readonly concurrency?: { readonly group?: string; readonly 'cancel-in-progress'?: boolean };
  readonly jobs: Readonly<Record<string, Job>>;
}

/** What is wrong with a workflow, one line a fault, by GitHub's own parser and these rules. */
export async function findWorkflowFaults(
  file: string,
  text: string,
  context: ContractContext,
): Promise<readonly string[]> {
  const syntax = await findSyntaxFaults(file, text);
  if (syntax.length > 0) return syntax;
  const workflow = parse(text) as Workflow;
  return [
    ...findPermissionFaults(workflow),
    ...(context.writesToHosts ? findConcurrencyFaults(workflow) : []),
    ...Object.entries(workflow.jobs).flatMap(([id, job]) => [
      ...(job['timeout-minutes'] === undefined ? [`job ${id}: no timeout-minutes`] : []),
      ...(job.steps ?? []).flatMap((step) =>
        findUseFaults(step, context).map((fault) => `${nameOf(step)}: ${fault}`),
      ),
      ...findReferenceFaults(job, workflow, context).map((fault) => `job ${id}: ${fault}`),
    ]),
  ];
}

/** The commits that actions are pinned to: more than one for the same action is a fault. */
export function findPins(text: string): readonly (readonly [action: string, commit: string])[] {
  const workflow = parse(text) as Workflow;
  return Object.values(workflow.jobs).flatMap((job) =>
    (job.steps ?? []).flatMap(({ uses }) => {
      const [action = '', commit] = uses?.split('@') ?? [];
      return commit === undefined ? [] : [[action, commit] as const];
    }),
  );
}

export const nameOf = (step: Step): string => `step ${step.name ?? step.id ?? step.uses ?? '?'}`;

/** Also what `needs` names, unknown keys, wrong events, expressions that can't be read. */
async function findSyntaxFaults(file: string, content: string): Promise<readonly string[]> {
  const { context, value } = parseWorkflow({ name: file, content }, new NoOperationTraceWriter());
  if (value !== undefined && context.errors.count === 0) {
    await convertWorkflowTemplate(context, value);
  }
  return context.errors.getErrors().map((error) => error.message);
}

function findPermissionFaults(workflow: Workflow): readonly string[] {
  const faults: string[] = [];
  if (JSON.stringify(workflow.permissions) !== '{}') {
    faults.push('permissions: expected {} on top, and what is needed on each job');
  }
  for (const [id, job] of Object.entries(workflow.jobs)) {
    for (const [scope, access] of Object.entries(job.permissions ?? {})) {
      if (scope === 'contents' && access === 'read') continue;
      // A job that knows no key of a host.
      const isAlone = job.environment === undefined && !JSON.stringify(job).includes('secrets.');
      if (['issues', 'pull-requests'].includes(scope) && access === 'write' && isAlone) continue;
      if (isRelease(workflow) && releaseScopes.includes(scope) && runsNoCode(job)) continue;
      faults.push(`job ${id}: permission ${scope}: ${access} is more than contents: read`);
    }
  }
  return faults;
}

/** What a release needs beyond reading: its page and tag, and to sign for the workflow. */
const releaseScopes: readonly string[] = ['contents', 'id-token', 'attestations'];

/** Started by a tag and nothing else. */
const isRelease = ({ on }: Workflow): boolean =>
  Object.keys(on).join() === 'push' && Object.keys(on.push ?? {}).join() === 'tags';

/** No checkout, no package and no secret: nothing that a commit brings can use the rights. */
const runsNoCode = (job: Job): boolean =>
  !JSON.stringify(job).includes('secrets.') &&
  (job.steps ?? []).every(
    ({ uses = '', run = '' }) =>
      !/^(\.\/|actions\/checkout@)/.test(uses) && !/\b(npm|npx|node|bash|make)\b/.test(run),
  );

/**
 * GitHub keeps one waiting run a group and cancels the one that waited before it: what comes by the
 * clock must not push out a deploy. On the host, one waits for the other's lock.
 */
function findConcurrencyFaults({ name = '', on, concurrency }: Workflow): readonly string[] {
  const faults: string[] = [];
  const { group = '' } = concurrency ?? {};
  const hosts = ['vars.CELERIAC_HOST', 'inputs.host || vars.CELERIAC_HOST'];
  const hasDryRun = 'dry-run' in (on.workflow_dispatch?.inputs ?? {});
  const end = hasDryRun ? "${{ inputs.dry-run && '-dry-run' || '' }}" : '';
  if (!hosts.some((host) => group === `celeriac-${name}-\${{ ${host} }}${end}`)) {
    faults.push(
      'concurrency: the group does not stand for the workflow and the host, dry runs apart',
    );
  }
  if ('schedule' in on && group.startsWith('celeriac-deploy-')) {
    faults.push('concurrency: a run by the clock could push out a deploy that waits');
  }
  if (concurrency?.['cancel-in-progress'] !== false) {
    faults.push('concurrency: a run in progress could be cut off');
  }
  return faults;
}

const manifestOf = (uses: string, { actions, others }: KnownActions): Manifest | undefined =>
  actions[uses] ?? others?.[uses.split('@')[0] ?? ''];

/** What is wrong with the action that a step names and the inputs that it gives to it. */
export function findUseFaults(step: Step, known: KnownActions): readonly string[] {
  const { uses } = step;
  if (uses === undefined) return [];
  const isOwn = uses.startsWith('./') || known.actions[uses] !== undefined;
  if (!isOwn && !/^[\w.-]+\/[\w./-]+@[0-9a-f]{40}$/.test(uses)) {
    return [`${uses} is not pinned by a SHA`];
  }
  const manifest = manifestOf(uses, known);
  if (manifest === undefined) return isOwn ? [`there is no action ${uses}`] : [];
  const given = Object.keys(step.with ?? {});
  const { inputs = {} } = manifest;
  // A runner of GitHub has no ssh-agent, and a fleet file holds no secrets.
  const required = Object.entries(inputs).filter(
    ([name, input]) => input.required || name === 'ssh-key',
  );
  return [
    ...given.filter((name) => !(name in inputs)).map((name) => `${uses} has no input ${name}`),
    ...required
      .filter(([name]) => !given.includes(name))
      .map(([name]) => `${uses} requires ${name}`),
  ];
}

function findReferenceFaults(
  job: Job,
  workflow: Workflow,
  context: ContractContext,
): readonly string[] {
  const inputs = new Set(
    Object.values(workflow.on).flatMap((event) => Object.keys(event?.inputs ?? {})),
  );
  const faults: string[] = [];
  const earlier = new Map<string, Step>();
  const judge = (node: unknown, where: string): void => {
    for (const path of listReferences(node)) {
      const fault = judgeReference(path, earlier, inputs, job, workflow, context);
      if (fault !== null) faults.push(`${where}: ${fault}`);
    }
  };
  const { steps = [], outputs, environment = '', ...rest } = job;
  const place = typeof environment === 'string' ? { name: environment } : environment;
  judge([rest, place.name], 'job');
  for (const step of steps) {
    judge(step, nameOf(step));
    if (step.id !== undefined) earlier.set(step.id, step);
  }
  // Both are read when the job ends.
  judge(outputs, 'outputs');
  judge(place.url, 'environment');
  return faults;
}

function judgeReference(
  path: Path,
  earlier: ReadonlyMap<string, Step>,
  inputs: ReadonlySet<string>,
  job: Job,
  workflow: Workflow,
  context: ContractContext,
): string | null {
  const [root, name = '', property, key = ''] = path;
  const whole = path.join('.');
  switch (root) {
    case 'inputs':
      return inputs.has(name) ? null : `${whole}: the workflow has no input ${name}`;
    case 'needs': {
      if (![job.needs ?? []].flat().includes(name))
        return `${whole}: the job does not need ${name}`;
      const known = Object.keys(workflow.jobs[name]?.outputs ?? {});
      const missing = property === 'outputs' && !known.includes(key);
      return missing ? `${whole}: job ${name} has no output ${key}` : null;
    }
    case 'steps':
      return judgeStepReference(path, earlier, context);
    default:
      return null;
  }
}

/** @param earlier the steps before it, by their ids */
export function judgeStepReference(
  path: Path,
  earlier: ReadonlyMap<string, Step>,
  known: KnownActions,
): string | null {
  const [, name = '', property = '', key] = path;
  const whole = path.join('.');
  const step = earlier.get(name);
  if (step === undefined) return `${whole}: no earlier step has the id ${name}`;
  if (!['outputs', 'outcome', 'conclusion'].includes(property)) {
    return `${whole}: a step has outputs, an outcome and a conclusion`;
  }
  const manifest = manifestOf(step.uses ?? '', known);
  if (property !== 'outputs' || key === undefined || manifest === undefined) return null;
  return key in (manifest.outputs ?? {}) ? null : `${whole}: ${step.uses} has no output ${key}`;
}
