import type { Home } from './fleet-text.ts';

/** The version of actions/checkout that workflows use, as in those of this repository. */
const checkout = 'actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2';

/** Of which host a workflow is, and of which branch. */
export interface Deployed {
  readonly host: string;
  readonly branch: string;
}

/** The workflow of one host: deploys on each push to the branch, clean-ups and the soak by the clock. */
export function workflowText({ host, branch }: Deployed, { repository, version }: Home): string {
  const action = (name: string): string => `${repository}${name}@v${version}`;
  const common = `ssh-key: \${{ secrets.CELERIAC_SSH_KEY }}
          known-hosts: \${{ vars.CELERIAC_KNOWN_HOSTS }}
          webhook: \${{ secrets.CELERIAC_WEBHOOK }}`;
  return `# Written by \`celeriac init\`; yours to edit. The server and its settings are in .github/fleet.yml.
# Set in the repository: the variable CELERIAC_KNOWN_HOSTS. Set in the environments \`production\` (deploys and
# manual runs) and \`production-scheduled\` (scheduled runs): the secret CELERIAC_SSH_KEY and, optionally,
# CELERIAC_WEBHOOK, a Slack-compatible webhook that is notified of each failed step.
name: celeriac

on:
  push:
    branches: [${JSON.stringify(branch)}]
  schedule:
    # Stuck jobs.
    - cron: '*/30 * * * *'
    # The soak. Not on the hour, when GitHub is busiest.
    - cron: '23 * * * *'
  workflow_dispatch:
    inputs:
      dry-run:
        description: Show what would be done without changing anything
        type: boolean
        default: true

permissions: {}

jobs:
  # Swap, the unit, a restart that loses no task, stuck jobs, probes through the real queues; a rollback if they fail.
  deploy:
    name: Deploy
    if: github.event_name != 'schedule'
    environment: production
    runs-on: ubuntu-latest
    timeout-minutes: 60
    # One at a time; a run in progress is never cancelled. A dry run does not replace a pending deploy.
    concurrency:
      group: celeriac-deploy-${host}\${{ inputs.dry-run && '-dry-run' || '' }}
      cancel-in-progress: false
    permissions:
      contents: read
    steps:
      - uses: ${checkout}
        with:
          persist-credentials: false
          # With \`source: git\`, the commits that the server lacks are sent from this clone.
          fetch-depth: 0
      - uses: ${action('')}
        with:
          ${common}
          dry-run: \${{ inputs.dry-run }}

  # Repairs jobs that no worker will ever finish.
  cleanup:
    name: Clean up
    if: github.event_name == 'schedule' && github.event.schedule == '*/30 * * * *'
    environment: production-scheduled
    runs-on: ubuntu-latest
    timeout-minutes: 30
    concurrency:
      group: celeriac-cleanup-${host}
      cancel-in-progress: false
    permissions:
      contents: read
    steps:
      - uses: ${checkout}
        with:
          persist-credentials: false
      - uses: ${action('/actions/cleanup')}
        with:
          ${common}
          # A deploy may wait for tasks to finish.
          lock-timeout: 25m

  # Checks whether the running release has proven itself; if the release failed, this run fails.
  soak:
    name: Soak
    if: github.event_name == 'schedule' && github.event.schedule == '23 * * * *'
    environment: production-scheduled
    runs-on: ubuntu-latest
    timeout-minutes: 60
    concurrency:
      group: celeriac-soak-${host}
      cancel-in-progress: false
    permissions:
      contents: read
    steps:
      - uses: ${checkout}
        with:
          persist-credentials: false
      - uses: ${action('/actions/verify')}
        with:
          ${common}
          mode: soak
          lock-timeout: 25m
`;
}
