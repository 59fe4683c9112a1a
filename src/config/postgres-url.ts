/**
 * URLs of PostgreSQL databases, read strictly: whatever might be a password makes a URL invalid, and
 * errors never repeat one. The host repeats these rules (`store/postgres_url.py`).
 */

/** A URL without a password; `null`: the default of psql applies. */
export interface PostgresUrl {
  readonly user: string | null;
  /** In lower case. */
  readonly host: string | null;
  readonly port: number | null;
  readonly database: string | null;
  /** Known options of libpq, in the order of the URL. */
  readonly options: ReadonlyMap<string, string>;
}

/**
 * The options that a URL may have. Not among them: those that hold a secret (`password`,
 * `sslpassword`), that name a file with one (`passfile`, `service`), or that replace other parts.
 */
const knownOptions: ReadonlySet<string> = new Set([
  'application_name',
  'channel_binding',
  'connect_timeout',
  'gssencmode',
  'host',
  'hostaddr',
  'keepalives',
  'keepalives_count',
  'keepalives_idle',
  'keepalives_interval',
  'options',
  'port',
  'require_auth',
  'sslcert',
  'sslkey',
  'sslmode',
  'sslnegotiation',
  'sslrootcert',
  'target_session_attrs',
  'tcp_user_timeout',
]);

const place =
  /^([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])?(?::([0-9]{1,5}))?(?:\/([A-Za-z0-9_.%-]+)?)?(?:\?(.*))?$/s;

/** `options` sets where tables are searched for, and nothing else. */
const searchPath = /^-c ?search_path=[A-Za-z0-9_,.-]+$/;

/** Reads `postgresql://app@127.0.0.1:5432/jobs`; `null`: it is invalid, or may contain a password. */
export function parsePostgresUrl(text: string): PostgresUrl | null {
  const [, rest] = /^postgres(?:ql)?:\/\/(.*)$/s.exec(text) ?? [];
  if (rest === undefined) return null;
  // The last @: a password may contain others.
  const at = rest.lastIndexOf('@');
  const user = at < 0 ? null : rest.slice(0, at);
  if (user !== null && !isPlain(user, /^[A-Za-z0-9_.@+-]+$/)) return null;
  const [whole, host = null, port, database = null, query] = place.exec(rest.slice(at + 1)) ?? [];
  if (whole === undefined || (port !== undefined && !isPort(port))) return null;
  if (database !== null && decode(database) === null) return null;
  const options = readOptions(query);
  if (options === null) return null;
  return {
    user,
    host: host?.toLowerCase() ?? null,
    port: port === undefined ? null : Number(port),
    database,
    options,
  };
}

/** Written once, encoded or not: a colon or a slash in a user's name begins a password. */
function isPlain(encoded: string, pattern: RegExp): boolean {
  const plain = decode(encoded);
  return plain !== null && pattern.test(plain) && !encoded.includes('@');
}

function readOptions(query: string | undefined): ReadonlyMap<string, string> | null {
  const found = new Map<string, string>();
  for (const each of query === undefined || query === '' ? [] : query.split('&')) {
    const at = each.indexOf('=');
    const name = each.slice(0, Math.max(at, 0));
    const value = each.slice(at + 1);
    const plain = decode(value);
    // A name is compared as it stands: an encoded one is not known.
    if (!knownOptions.has(name) || found.has(name) || plain === null) return null;
    if (!/^[A-Za-z0-9_=%./,:+-]*$/.test(value)) return null;
    if (name === 'options' && !searchPath.test(plain)) return null;
    found.set(name, value);
  }
  return found;
}

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

const isPort = (text: string): boolean => Number(text) >= 1 && Number(text) <= 65_535;
