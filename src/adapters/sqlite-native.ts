/**
 * SQLite for bundles that open a database. Import it from nowhere else, so that the other bundles do
 * not contain it.
 *
 * better-sqlite3's default entry looks for its addon at run time, and ncc then copies all eight
 * platforms (17 MB). Its per-platform entries name one prebuilt file each, which ncc copies beside
 * the bundle, and they load it only when a database is opened: both can be imported, and the
 * machine that runs picks one. Runners are glibc Linux on x64 or arm64.
 */
import type { Database, Options } from 'better-sqlite3';
import DatabaseArm64 from 'better-sqlite3/linux-arm64';
import DatabaseX64 from 'better-sqlite3/linux-x64';

/** Of the addon. */
const oldestNode = 22;

/**
 * Opens a SQLite database.
 *
 * @param options as better-sqlite3 has them; `timeout` is in milliseconds.
 * @throws Error on a machine that is not Linux on x64 or arm64.
 * @throws SqliteError when the file cannot be opened.
 */
export function openDatabase(path: string, options: Options = {}): Database {
  // An older one does not refuse the addon, but crashes.
  if (Number(process.versions.node.split('.')[0]) < oldestNode) {
    throw new Error(`SQLite requires Node.js ${oldestNode} or newer; this is ${process.version}`);
  }
  if (process.platform === 'linux' && process.arch === 'x64') return new DatabaseX64(path, options);
  if (process.platform === 'linux' && process.arch === 'arm64') {
    return new DatabaseArm64(path, options);
  }
  throw new Error(
    `SQLite requires Linux on x64 or arm64; this is ${process.platform} on ${process.arch}`,
  );
}
