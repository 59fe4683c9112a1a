import { type ParseArgsConfig, parseArgs } from 'node:util';

/**
 * The options of a command, as `parseArgs` reads them. An option that it does not have, such as
 * `--help`, ends the program with one line about those that it has.
 */
export function readOptions<const Config extends ParseArgsConfig>(
  config: Config,
): ReturnType<typeof parseArgs<Config>> {
  try {
    return parseArgs(config);
  } catch (error) {
    console.error(`${(error as Error).message.split('. ', 1)[0]}; ${describeOptions(config)}`);
    process.exit(2);
  }
}

/** `expected --machines <value>, --again`, in the order of the program. */
function describeOptions({ options = {} }: ParseArgsConfig): string {
  const names = Object.entries(options).map(([name, { type }]) =>
    type === 'string' ? `--${name} <value>` : `--${name}`,
  );
  return `expected ${names.join(', ')}`;
}
