import { ConfigError } from '../../model/errors.ts';
import { matchesPattern } from './host-patterns.ts';
import { type Directive, parseSshConfig } from './ssh-config-lines.ts';

/** What the configuration of ssh is read by, and for whom. */
export interface SshConfigSource {
  /** The first file, such as `~/.ssh/config`. */
  readonly file: string;
  readonly home: string;
  readonly localUser: string;
  /** The text of a file; `null`: there is none. */
  readonly read: (file: string) => string | null;
  /** The files that a pattern names, in order. */
  readonly list: (pattern: string) => readonly string[];
}

/** The values of one host, by keyword in lower case: for each the first one that applies. */
export type SshValues = ReadonlyMap<string, Directive>;

export interface SshHost {
  readonly values: SshValues;
  /** Every `IdentityFile` that applies. */
  readonly identityFiles: readonly Directive[];
  /**
   * By keyword: a `Match` that cannot be decided, and that might set it before the value that applies.
   */
  readonly undecided: ReadonlyMap<string, string>;
}

const deepestInclude = 16;

type Answer = 'yes' | 'no' | 'undecided';

/**
 * Reads what ssh_config(5) files say about a host: the first value of each keyword wins.
 *
 * @param given what flags set: `user` counts in `Match user`, and no `User` is read
 * @throws ConfigError with file and line for a line that ssh would refuse
 */
export function readSshConfig(
  source: SshConfigSource,
  host: string,
  given: { readonly user?: string } = {},
): SshHost {
  const values = new Map<string, Directive>();
  const identityFiles: Directive[] = [];
  const undecided = new Map<string, string>();

  const seen = () => ({
    host: values.get('hostname')?.words[0]?.replaceAll('%h', host) ?? host,
    originalhost: host,
    user: given.user ?? values.get('user')?.words[0] ?? source.localUser,
    localuser: source.localUser,
  });

  const take = (directive: Directive, active: Answer, match: string): void => {
    if (active === 'no') return;
    const keyword = directive.keyword === 'proxyjump' ? 'proxycommand' : directive.keyword;
    if (keyword === 'user' && given.user !== undefined) return;
    const isOpen = keyword === 'identityfile' || !values.has(keyword);
    if (!isOpen) return;
    if (active === 'undecided') {
      if (!undecided.has(keyword)) undecided.set(keyword, match);
    } else if (keyword === 'identityfile') identityFiles.push(directive);
    else values.set(keyword, directive);
  };

  const readFile = (file: string, outer: Answer, above: string, depth: number): void => {
    const text = source.read(file);
    if (text === null) return;
    let active = outer;
    let match = above;
    for (const directive of parseSshConfig(text, file)) {
      const { keyword, words, where } = directive;
      if (words.length === 0) {
        throw new ConfigError(where, 'ssh cannot read this line', 'a keyword and its value');
      }
      if (keyword === 'host') {
        active = both(outer, matchesAny(words, host) ? 'yes' : 'no');
      } else if (keyword === 'match') {
        active = both(outer, decideMatch(words, seen()));
        match = `${where}: Match ${words.join(' ')}`;
      } else if (keyword === 'include') {
        if (depth >= deepestInclude) {
          throw new ConfigError(where, 'too many levels of Include', 'files that end');
        }
        // ssh reads them to find faults only.
        if (active === 'no') continue;
        for (const pattern of words) {
          refusePattern(pattern, where);
          for (const each of source.list(placeOf(pattern, source.home))) {
            readFile(each, active, match, depth + 1);
          }
        }
      } else {
        take(directive, active, match);
      }
    }
  };
  readFile(source.file, 'yes', '', 0);
  return { values, identityFiles, undecided };
}

/**
 * The same for a login; without `user`, and if no `User` applies, as `ssh USUAL@HOST` reads it:
 * `Match user` is about whoever logs in.
 *
 * @throws ConfigError as `readSshConfig`
 */
export function readForLogin(
  source: SshConfigSource,
  host: string,
  { user, usual }: { readonly user: string | undefined; readonly usual: string },
): SshHost {
  if (user !== undefined) return readSshConfig(source, host, { user });
  const found = readSshConfig(source, host);
  const isNamed = found.values.has('user') || found.undecided.has('user');
  return isNamed ? found : readSshConfig(source, host, { user: usual });
}

/** What would name other files than it does for ssh; which sign means what depends on its version. */
function refusePattern(pattern: string, where: string): void {
  const strange = /[[\]\\%]|\$\{|^~(?!\/)/.exec(pattern)?.[0];
  if (strange === undefined) return;
  const problem = `\`${strange}\` in the Include of \`${pattern}\` is not supported`;
  throw new ConfigError(where, problem, 'a path with `*` and `?`, absolute or below `~/`');
}

/** Relative to `~/.ssh`, as in the file of a user. */
function placeOf(pattern: string, home: string): string {
  if (pattern.startsWith('~/')) return `${home}${pattern.slice(1)}`;
  return pattern.startsWith('/') ? pattern : `${home}/.ssh/${pattern}`;
}

function both(one: Answer, other: Answer): Answer {
  if (one === 'no' || other === 'no') return 'no';
  return one === 'undecided' || other === 'undecided' ? 'undecided' : 'yes';
}

/** A `!` pattern that matches beats the rest. */
function matchesAny(patterns: readonly string[], name: string): boolean {
  const hits = patterns.filter((each) => matchesPattern(each.replace(/^!/, ''), name));
  return hits.length > 0 && hits.every((each) => !each.startsWith('!'));
}

/** Criteria that take no value. */
const alone: ReadonlySet<string> = new Set(['all', 'canonical', 'final']);

/** What ssh knows of itself when it reads `Match`; a criterion that is missing here is undecided. */
type Seen = Readonly<Record<string, string>>;

function decideMatch(words: readonly string[], seen: Seen): Answer {
  let answer: Answer = 'yes';
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    const negated = word.startsWith('!');
    const [, name = '', joined] = /^!?([a-z]+)(?:=(.*))?$/is.exec(word) ?? [];
    const criterion = name.toLowerCase();
    let value = joined ?? '';
    if (!alone.has(criterion) && joined === undefined) {
      at += 1;
      value = words[at] ?? '';
    }
    answer = both(answer, turn(decide(criterion, value, seen), negated));
  }
  return answer;
}

/** Criteria that ignore case; `Host` and the others compare it. */
const caseless: ReadonlySet<string> = new Set(['host', 'originalhost']);

function decide(criterion: string, value: string, seen: Seen): Answer {
  // Names are never made canonical here: that is refused where it is asked for.
  if (criterion === 'all') return 'yes';
  if (criterion === 'canonical') return 'no';
  const name = Object.hasOwn(seen, criterion) ? seen[criterion] : undefined;
  if (name === undefined) return 'undecided';
  const fold = (text: string) => (caseless.has(criterion) ? text.toLowerCase() : text);
  return matchesAny(fold(value).split(','), fold(name)) ? 'yes' : 'no';
}

function turn(answer: Answer, negated: boolean): Answer {
  if (!negated || answer === 'undecided') return answer;
  return answer === 'yes' ? 'no' : 'yes';
}
