import { mostHosts, mostLegs, mostMatrices } from '../../config/rollout-inputs.ts';
import { ConfigError } from '../../model/errors.ts';

/** Which hosts of a fleet are deployed, and which of them first. */
export interface RolloutChoice {
  /** Every host, in the order of the file. */
  readonly names: readonly string[];
  /** Names with `*` and `?`; empty: every host. */
  readonly patterns: readonly string[];
  /** Names; empty: the first host; `none`: no host. */
  readonly canary: readonly string[];
}

/** The order in which hosts are deployed: the canaries, then each matrix after the one before it. */
export interface RolloutOrder {
  readonly canary: readonly string[];
  /** As many as the workflow has; the last ones may be empty. */
  readonly matrices: readonly (readonly string[])[];
}

/**
 * The order in which the chosen hosts are deployed.
 *
 * Canaries that are not among the chosen hosts are left out; if none is left, the first host is one: a
 * run for a part of the fleet has a canary, too.
 *
 * @throws ConfigError when a pattern or a canary matches no host, or there are too many hosts
 */
export function planRollout({ names, patterns, canary }: RolloutChoice): RolloutOrder {
  const chosen = chooseHosts(names, patterns);
  const unknown = canary.find((name) => name !== 'none' && !names.includes(name));
  if (unknown !== undefined) {
    const problem = `unknown host \`${unknown}\` in \`canary\``;
    throw new ConfigError('input canary', problem, 'names of hosts of the fleet, or `none` alone');
  }
  if (canary.includes('none') && canary.length > 1) {
    const problem = '`canary` combines `none` with names of hosts';
    throw new ConfigError('input canary', problem, 'names of hosts, or `none` alone');
  }
  const first = chosenCanaries(chosen, canary);
  if (first.length > mostLegs) {
    const problem = `too many canaries: ${first.length}`;
    throw new ConfigError('input canary', problem, `at most ${mostLegs} hosts`);
  }
  if (chosen.length > mostHosts) {
    const problem = `too many hosts for one run: ${chosen.length}`;
    const expected = `at most ${mostHosts} in one run; choose a part of them with \`hosts\``;
    throw new ConfigError('input hosts', problem, expected);
  }
  const rest = chosen.filter((name) => !first.includes(name));
  const matrices = Array.from({ length: mostMatrices }, (_, index) =>
    rest.slice(index * mostLegs, (index + 1) * mostLegs),
  );
  return { canary: first, matrices };
}

function chosenCanaries(chosen: readonly string[], canary: readonly string[]): readonly string[] {
  if (canary.includes('none')) return [];
  const named = chosen.filter((name) => canary.includes(name));
  return named.length > 0 ? named : chosen.slice(0, 1);
}

/**
 * The hosts that match one of the patterns, in their own order.
 *
 * @throws ConfigError when a pattern matches none: it is more likely mistyped than meant
 */
function chooseHosts(names: readonly string[], patterns: readonly string[]): readonly string[] {
  if (patterns.length === 0) return names;
  const forms = patterns.map(formOf);
  const idle = forms.findIndex((form) => !names.some((name) => form.test(name)));
  if (idle >= 0) {
    const problem = `no host matches \`${patterns[idle]}\``;
    throw new ConfigError('input hosts', problem, 'names of hosts; `*` is a wildcard');
  }
  return names.filter((name) => forms.some((form) => form.test(name)));
}

function formOf(pattern: string): RegExp {
  const literal = pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${literal.replaceAll('*', '.*').replaceAll('?', '.')}$`);
}
