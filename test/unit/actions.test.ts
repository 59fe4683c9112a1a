import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { findActionFaults, type Passing } from '../lib/action-contract.ts';
import { actionNames, knownActions as known } from '../lib/known-actions.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const paths = ['action.yml', ...actionNames.map((name) => `actions/${name}/action.yml`)];

/** A host's address, key and lock, and whom to tell. */
const ofHost = [
  ...['host', 'port', 'user', 'agent', 'ssh-key', 'ssh-key-passphrase', 'known-hosts'],
  ...['proxy-jump', 'connect-timeout', 'lock-timeout', 'fleet-file', 'dry-run'],
  ...['webhook', 'webhook-when'],
];

const soak = 'of a soak, which is no part of a deploy';
const wish = 'a requirement to verify, and a wish to the steps before it';
const planned = 'the plan has it';
const otherTask = 'of another task';

const passings: Readonly<Record<string, Readonly<Record<string, Passing>>>> = {
  'action.yml': {
    Inputs: {},
    Swap: {},
    Worker: {},
    'Stuck jobs': {},
    Gate: {
      leaves: {
        'soak-failure': soak,
        'swap-size': wish,
        concurrency: wish,
        'memory-max': wish,
        'memory-high': wish,
      },
      // Only this mode confirms a release.
      values: { mode: 'checks' },
    },
    // The ledger of the host has everything else.
    'Roll the worker back': {
      given: [...ofHost, 'unit', 'roll-back'],
      values: { 'roll-back': "${{ format('newest:{0}', steps.worker.outputs.transaction) }}" },
    },
  },
  'actions/fleet-host/action.yml': {
    Start: {
      leaves: {
        hosts: planned,
        canary: planned,
        'max-parallel': planned,
        'max-failures': planned,
        'on-failure': planned,
        outcome: otherTask,
        outputs: otherTask,
        'dry-run': otherTask,
      },
      values: {
        task: 'start',
        results: '${{ runner.temp }}/celeriac-legs',
        'roll-back': "${{ inputs.roll-back != '' }}",
      },
    },
    // The fleet file has everything else.
    Deploy: {
      given: [
        ...['host', 'ssh-key', 'known-hosts', 'fleet-file', 'webhook', 'webhook-when'],
        ...['dry-run', 'confirm'],
      ],
      values: { 'known-hosts': '${{ steps.start.outputs.known-hosts }}', confirm: 'true' },
    },
    'Roll back': {
      given: [
        ...['host', 'ssh-key', 'known-hosts', 'fleet-file', 'webhook', 'webhook-when'],
        ...['dry-run', 'roll-back', 'lock-timeout'],
      ],
      values: {
        'known-hosts': '${{ steps.start.outputs.known-hosts }}',
        'lock-timeout': '25m',
        'roll-back': 'newest:${{ inputs.roll-back }}',
        'dry-run': 'false',
      },
    },
    End: {
      leaves: {
        jobs: otherTask,
        'fleet-file': planned,
        hosts: planned,
        'known-hosts': otherTask,
        canary: planned,
        'max-parallel': planned,
        'max-failures': planned,
        'on-failure': planned,
        results: otherTask,
      },
      values: {
        task: 'end',
        outcome: "${{ inputs.roll-back == '' && steps.deploy.outcome || steps.back.outcome }}",
        outputs:
          "${{ inputs.roll-back == '' && toJSON(steps.deploy.outputs) || toJSON(steps.back.outputs) }}",
        'roll-back': "${{ inputs.roll-back != '' }}",
      },
    },
  },
};

const findFaults = (path: string, text: string): readonly string[] =>
  findActionFaults(path, text, known, passings[path]);

describe.each(paths)('%s', (path) => {
  it('follows every rule', () => {
    expect(findFaults(path, read(path))).toEqual([]);
  });

  it('uses actions whose inputs and outputs are known', () => {
    const { runs } = parse(read(path)) as { runs: { steps?: readonly { uses?: string }[] } };
    const used = (runs.steps ?? []).flatMap(({ uses }) => (uses === undefined ? [] : [uses]));
    const unknown = used.filter(
      (uses) => !(uses in known.actions) && !((uses.split('@')[0] ?? '') in known.others),
    );
    expect(unknown).toEqual([]);
  });
});

describe('the rules of actions', () => {
  const host = 'actions/fleet-host/action.yml';
  type Broken = readonly [what: string, path: string, from: string | RegExp, to: string, RegExp];

  it.each<Broken>([
    [
      'an input that is not passed on',
      'action.yml',
      /(id: jobs\n.*?) {8}unit: [^\n]*\n/s,
      '$1',
      /step Stuck jobs: does not pass on unit/,
    ],
    [
      'one that a roll-back needs',
      'action.yml',
      /(id: back\n.*?) {8}ssh-key: [^\n]*\n/s,
      '$1',
      /step Roll the worker back: does not pass on ssh-key/,
    ],
    [
      'the value of another input',
      'action.yml',
      /(id: gate\n.*? {8}gate-url: \$\{\{ inputs\.)gate-url/s,
      '$1gate-task',
      /step Gate: gate-url is \$\{\{ inputs.gate-task \}\}/,
    ],
    [
      'a condition on a step that is not there',
      'action.yml',
      'steps.gate.outcome',
      'steps.gaet.outcome',
      /no earlier step has the id gaet/,
    ],
    [
      'a condition on a later step',
      'action.yml',
      "inputs.dry-run != 'true' && steps.worker.outcome",
      "inputs.dry-run != 'true' && steps.back.outcome",
      /no earlier step has the id back/,
    ],
    [
      'a word that no step has',
      'action.yml',
      'steps.worker.outcome',
      'steps.worker.result',
      /steps.worker.result: a step has outputs/,
    ],
    [
      'the value of an output that is not there',
      'action.yml',
      'steps.jobs.outputs.repaired',
      'steps.jobs.outputs.repared',
      /output repaired: .*has no output repared/,
    ],
    [
      'an input that is not there',
      'action.yml',
      'timezone: ${{ inputs.timezone }}',
      'timezone: ${{ inputs.timezon }}',
      /the action has no input timezon/,
    ],
    [
      'an input that nobody reads',
      host,
      'inputs:\n',
      'inputs:\n  more:\n    required: false\n',
      /input more: no step/,
    ],
    ['a wrong id', host, 'steps.start.outputs.go', 'steps.strat.outputs.go', /the id strat/],
    ['a wrong output', host, '.outputs.artifact', '.outputs.artefact', /no output artefact/],
    [
      'a wrong output of another',
      host,
      'steps.end.outputs.path',
      'steps.end.outputs.paht',
      /no output paht/,
    ],
    [
      'an id that is there twice',
      host,
      'id: back',
      'id: deploy',
      /an earlier step has the id deploy/,
    ],
    [
      'a step without a list',
      host,
      'name: Deploy\n',
      'name: Deliver\n',
      /step Deliver: no list says/,
    ],
    ['a list without a step', host, 'name: Deploy\n', 'name: Deliver\n', /there is no step Deploy/],
    [
      'an unknown input of another',
      host,
      'if-no-files-found',
      'if-no-file-found',
      /no input if-no-file-found/,
    ],
    ['a context of workflows', host, '${{ inputs.ssh-key }}', '${{ secrets.KEY }}', /secrets/],
    ['a tag instead of a commit', host, /@[0-9a-f]{40}/, '@v6', /not pinned/],
    ['an unknown key', host, 'continue-on-error', 'continue-on-eror', /Unexpected value/],
    ['an expression that is none', host, "== '' }}", "== ' }}", /expression/i],
    [
      'a description that the Marketplace refuses',
      'actions/verify/action.yml',
      /^description: '/m,
      `description: '${'word '.repeat(20)}`,
      /description: 1\d\d characters; expected at most 124/,
    ],
  ])('find %s', (_, path, from, to, fault) => {
    const text = read(path);
    const broken = text.replace(from, to);
    expect(broken).not.toBe(text);
    expect(findFaults(path, broken).join('\n')).toMatch(fault);
  });
});
