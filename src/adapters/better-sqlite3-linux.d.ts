// The entries of better-sqlite3 that carry one platform's addon each; its types name only the
// default entry.
declare module 'better-sqlite3/linux-x64' {
  import Database from 'better-sqlite3';
  export default Database;
}

declare module 'better-sqlite3/linux-arm64' {
  import Database from 'better-sqlite3';
  export default Database;
}
