import { choiceInput, integerInput, listInput } from './input.ts';

/** The name of a host or a group; it is part of the names of jobs, artifacts and concurrency groups. */
export const fleetName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** The most hosts that GitHub takes as one matrix. */
export const mostLegs = 256;
/** The matrices of pipeline.yml, one after the other. */
export const mostMatrices = 4;
/** The most hosts of one run. */
export const mostHosts = mostMatrices * mostLegs;

/** How a fleet is deployed: `rollout` of the fleet file, and inputs of what plans one. */
export const rolloutInputs = {
  canary: listInput(
    {
      description:
        'Hosts that are deployed first, in parallel; the others are skipped if one of them fails. `none`: no host. If not set: the first host.',
      fallback: '',
    },
    'names of hosts separated by commas, or `none`',
    fleetName,
  ),
  'max-parallel': integerInput(
    { description: 'How many hosts are deployed at the same time.', fallback: '5' },
    { min: 1, max: mostLegs },
  ),
  'max-failures': integerInput(
    {
      description:
        'Once this many hosts have failed, no others start. Deploys in progress are never interrupted. A host whose runner was lost counts only once its whole matrix has ended.',
      fallback: '1',
    },
    { min: 1, max: 10_000 },
  ),
  'on-failure': choiceInput(
    {
      description:
        'What is rolled back to its previous release. `host`: each host that failed. `run`: also every host that this run has deployed, once a canary or `max-failures` hosts have failed.',
      fallback: 'host',
    },
    ['host', 'run'],
  ),
} as const;
