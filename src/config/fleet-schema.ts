import { z } from 'zod/mini';
import { actions } from './action-inputs.ts';
import type { Input, Inputs } from './input.ts';
import { fleetName, rolloutInputs } from './rollout-inputs.ts';

type Schema = Readonly<Record<string, unknown>>;

const text: Schema = { type: 'string' };
const plain: Schema = { type: ['string', 'number', 'boolean'] };
const names: Schema = {
  anyOf: [text, { type: 'array', minItems: 1, items: text }],
};

/** The JSON Schema of the fleet file that is published as docs/reference/fleet.schema.json. */
export function fleetSchema(): Schema {
  const everyInput: Inputs = Object.assign({}, ...Object.values(actions).reverse());
  const sections = Object.entries(actions).map(([name, inputs]) => [
    name,
    object(propertiesOf(inputs), { description: `Inputs of ${name} alone.` }),
  ]);
  const level = { ...propertiesOf(everyInput), ...Object.fromEntries(sections) };
  const groups = {
    description: 'Groups of the host. A later one replaces values of an earlier one.',
    ...names,
  };
  const fleet = {
    defaults: described('What all hosts share.', ref('level')),
    groups: described('What hosts of a group share, by the name of the group.', map('level')),
    hosts: described('The hosts by name.', { ...map('host'), minProperties: 1 }),
    rollout: described('How the hosts are deployed.', ref('rollout')),
  };
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Fleet file of Celeriac',
    description: 'Values for inputs of the actions, for one host or for many.',
    anyOf: [ref('fleet'), ref('level')],
    $defs: {
      fleet: object(fleet, { required: ['hosts'] }),
      level: object(level),
      host: object({ groups, ...level }),
      rollout: object({
        ...propertiesOf(rolloutInputs),
        canary: described(rolloutInputs.canary.description, names),
      }),
      ...listsOf(everyInput),
    },
  };
}

const object = (properties: Schema, more: Schema = {}): Schema => ({
  ...more,
  // A key without a value is a host, a group or a section without values.
  type: ['object', 'null'],
  properties,
  additionalProperties: false,
});

const ref = (name: string): Schema => ({ $ref: `#/$defs/${name}` });

const map = (of: string): Schema => ({
  type: 'object',
  propertyNames: { pattern: fleetName.source },
  additionalProperties: ref(of),
});

const described = (description: string, schema: Schema): Schema => ({ description, ...schema });

/** Those that may be in the file. */
function propertiesOf(inputs: Inputs): Schema {
  const allowed = Object.entries(inputs).filter(
    ([name, { secret }]) => !secret && name !== 'fleet-file',
  );
  return Object.fromEntries(allowed.map(([name, input]) => [name, schemaOf(name, input)]));
}

function schemaOf(name: string, input: Input<unknown>): Schema {
  const { description, fallback, json, yaml } = input;
  const items = { type: 'array', minItems: 1, items: plain };
  return {
    description: `${description} Expected: ${input.expected}.`,
    ...(json ?? { anyOf: yaml === null ? [plain, items] : [text, ref(name)] }),
    ...(fallback !== null && fallback !== '' && { default: defaultOf(fallback, json) }),
  };
}

/** The lists of YAML by the name of their input, as their parsers read them. */
function listsOf(inputs: Inputs): Schema {
  const lists = Object.entries(inputs).flatMap(([name, { yaml }]) => {
    if (yaml === null) return [];
    const { $schema: _, ...list } = z.toJSONSchema(yaml, { io: 'input' });
    return [[name, { ...list, minItems: 1 }] as const];
  });
  return Object.fromEntries(lists);
}

/** A default as it would stand in the file. */
const defaultOf = (text: string, json: Schema | undefined): unknown =>
  json !== undefined && 'type' in json ? JSON.parse(text) : text;
