import { type GivenFlags, loginFileFlags, loginFlags } from './flags.ts';
import { namedHost } from './fleet.ts';

/** Flags without which the next command would be about another host, or log in differently. */
const carried = ['host', ...loginFlags, ...loginFileFlags, 'fleet-file'];

/** A command that a person can paste, for the same host. */
export function describeNext(command: string, flags: GivenFlags, unit: string): string {
  const words = carried.flatMap((name) => {
    const value = (name === 'host' ? flags.get(namedHost) : undefined) ?? flags.get(name);
    return value === undefined ? [] : [`--${name}`, quote(value)];
  });
  const sudo = flags.get('sudo') === 'true' ? ['--sudo'] : [];
  // Always: without it, a fleet file may name another one.
  return ['celeriac', command, ...words, ...sudo, '--unit', quote(unit)].join(' ');
}

const quote = (word: string): string =>
  /^[A-Za-z0-9_@%+=:,./~-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
