import { ConfigError } from '../model/errors.ts';
import { type ActionName, actions } from './action-inputs.ts';
import { type Fleet, type FleetHost, type FleetValues, fleetValues } from './fleet-file.ts';
import type { Inputs } from './input.ts';
import { judgeInputs } from './judge-inputs.ts';
import type { Given } from './read-inputs.ts';

/** Who may give what the fleet file does not say. */
export interface FleetCheck {
  readonly keysFrom: 'file' | 'workflow' | 'person';
  /** What the rollout sets for an action itself, above the file; absent: nothing. */
  readonly given?: (action: ActionName) => Given;
}

/**
 * Judges every value of every host before the first one is deployed, as its actions will: what is wrong
 * for the last host should not stop a rollout in the middle.
 *
 * @param keysFrom who has the host keys: only the file; the workflow, for hosts without any in the file; or a person,
 * whose own are the only ones
 * @throws ConfigError with the place of a value that is not right or not for a rollout, a host without host keys or
 * with those for some actions only, two hosts that are the same unit, or names that cannot be told apart
 */
export function checkFleet(
  fleet: Fleet,
  hosts: readonly FleetHost[],
  { keysFrom, given = () => () => '' }: FleetCheck,
): void {
  checkNames([...(fleet.hosts?.values() ?? [])]);
  const workers = new Map<string, string>();
  for (const { name, where } of hosts) {
    for (const action of Object.keys(actions) as ActionName[]) {
      const values = fleetValues(fleet, action, name);
      refuseWishes(values);
      judge(name, action, values, given(action));
      if (keysFrom === 'file' && !values.has('known-hosts')) {
        const problem = `${name} has no \`known-hosts\` for ${action}`;
        throw new ConfigError(where, problem, '`known-hosts` in the file or in the workflow');
      }
    }
    if (keysFrom === 'workflow') isPinned(fleet, name);
    const values = fleetValues(fleet, 'deploy-worker', name);
    const worker = ['host', 'port', 'unit'].map((key) => textOf(values, key)).join(' ');
    const other = workers.get(worker);
    if (other !== undefined) {
      const problem = `${name} and ${other} are the same unit of the same host`;
      throw new ConfigError(where, problem, 'another `host`, `port` or `unit`');
    }
    workers.set(worker, name);
  }
}

/**
 * Whether the file has the host keys of a host, which are then the only ones that count for it.
 *
 * @throws ConfigError when it has them for some actions only: a job gives all of its actions those of the workflow,
 * or none
 */
export function isPinned(fleet: Fleet, host: string): boolean {
  const names = Object.keys(actions) as ActionName[];
  const pins = names.map((action) => fleetValues(fleet, action, host).get('known-hosts'));
  const [pin, ...others] = pins.filter((each) => each !== undefined);
  if (pin === undefined) return false;
  if (others.length + 1 === names.length) return true;
  const missing = names.filter((_, index) => pins[index] === undefined).join(', ');
  const problem = `${host} has its own \`known-hosts\`, and none for ${missing}`;
  throw new ConfigError(
    pin.where,
    problem,
    '`known-hosts` for every action, beside their sections',
  );
}

/** Names of hosts are those of concurrency groups and artifacts, where case makes no difference. */
function checkNames(hosts: readonly FleetHost[]): void {
  const names = new Map<string, string>();
  for (const { name, where } of hosts) {
    const known = name.toLowerCase();
    const other = names.get(known);
    if (known === 'none') {
      const problem = `a host cannot be called \`${name}\``;
      throw new ConfigError(where, problem, 'another name: `canary: none` means no host');
    }
    if (other !== undefined) {
      const problem = `\`${name}\` and \`${other}\` differ only in case`;
      throw new ConfigError(where, problem, 'names that differ otherwise, too');
    }
    names.set(known, name);
  }
}

/** A whole rollout is one, or none of it: that is for whoever starts it, and not for a host to have. */
function refuseWishes(values: FleetValues): void {
  for (const key of ['dry-run', 'roll-back']) {
    const value = values.get(key);
    if (value === undefined) continue;
    const problem = `a rollout takes no \`${key}\` from the fleet file`;
    throw new ConfigError(
      value.where,
      problem,
      'what is asked of a run: in the workflow, or a flag',
    );
  }
}

/** A value may stand far from its host, in a group or the defaults: so the host is named, too. */
function judge(host: string, action: ActionName, values: FleetValues, given: Given): void {
  try {
    judgeInputs(action, given, values);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const { where, message, expected } = error;
    throw new ConfigError(where, `${host}: ${message}`, expected, { cause: error });
  }
}

const textOf = (values: FleetValues, key: string): string => {
  const inputs: Inputs = actions['deploy-worker'];
  const text = values.get(key)?.text ?? inputs[key]?.fallback ?? '';
  return key === 'unit' ? text.replace(/\.service$/, '') : text.toLowerCase();
};
