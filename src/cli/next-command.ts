import type { GivenFlags } from './flags.ts';
import { namedHost } from './fleet.ts';

/** Flags without which the next command would be about another host, or log in differently. */
const carried = [
  'host',
  'port',
  'user',
  'agent',
  'proxy-jump',
  'ssh-key-file',
  'known-hosts-file',
  'ssh-config-file',
  'fleet-file',
] as const;

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
