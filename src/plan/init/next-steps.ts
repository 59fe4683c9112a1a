import { quote } from '../../report/shell-commands.ts';
import type { Reach } from './fleet-text.ts';
import { celeriacWords, sshWords } from './reach-words.ts';

/** What only a person can do after `celeriac init`. */
export interface NextSteps {
  readonly reach: Reach;
  /** Lines for the variable CELERIAC_KNOWN_HOSTS. */
  readonly knownHosts: string;
  readonly branch: string;
  readonly files: readonly string[];
  readonly unit: string;
  /** The user of the worker. */
  readonly appUser: string;
  /** Whether deploys move the checkout from which the worker runs. */
  readonly movesCheckout: boolean;
}

/** Two environments, so that nobody has to approve what the clock starts. */
const environments = ['production', 'production-scheduled'] as const;
const keys = {
  production: 'celeriac-key',
  'production-scheduled': 'celeriac-scheduled-key',
} as const;

/** The steps, each with its title and its commands. */
export function nextSteps(given: NextSteps): readonly (readonly [string, readonly string[]])[] {
  const { reach, knownHosts, branch, files, unit, appUser, movesCheckout } = given;
  const at = sshWords(reach);
  return [
    [
      'Create two keys for the pipeline, and let them log in:',
      environments.flatMap((name) => [
        `ssh-keygen -t ed25519 -N '' -C ${keys[name]} -f ~/.ssh/${keys[name]}`,
        `ssh-copy-id -f -i ~/.ssh/${keys[name]}.pub ${at}`,
      ]),
    ],
    [
      `Make the environments, for the branch ${branch} alone, and give each its key:`,
      environments.flatMap((name) => [
        `gh api -X PUT 'repos/{owner}/{repo}/environments/${name}' -F 'deployment_branch_policy[protected_branches]=false' -F 'deployment_branch_policy[custom_branch_policies]=true'`,
        `gh api -X POST 'repos/{owner}/{repo}/environments/${name}/deployment-branch-policies' -f ${quote(`name=${branch}`)}`,
        `gh secret set CELERIAC_SSH_KEY --env ${name} < ~/.ssh/${keys[name]}`,
      ]),
    ],
    [
      'Pin the host key of the server:',
      [`gh variable set CELERIAC_KNOWN_HOSTS --body ${quote(knownHosts)}`],
    ],
    [
      'Commit the files; this push does not start a run:',
      [
        `git add ${files.map(quote).join(' ')}`,
        "git commit -m 'Deploy with Celeriac [skip ci]'",
        `git push origin ${quote(branch)}`,
      ],
    ],
    [
      'Start a dry run, then a real one; from then on, each push deploys:',
      ['gh workflow run celeriac.yml', 'gh workflow run celeriac.yml -f dry-run=false'],
    ],
    ...(appUser === 'root'
      ? []
      : [
          [
            'With these keys the pipeline is root on the server. To restrict them to what it needs:',
            [
              `cat ${environments.map((name) => `~/.ssh/${keys[name]}.pub`).join(' ')} >~/.ssh/celeriac-keys.pub`,
              `celeriac harden ${celeriacWords(reach)} --units ${quote(unit)}${movesCheckout ? ' --source git' : ''} --public-key-file ~/.ssh/celeriac-keys.pub --dry-run`,
            ],
          ] as const,
        ]),
  ];
}
