import type { CleanUpDesired } from '../../config/cleanup-desired.ts';
import type { Finding } from '../../model/operation.ts';

/** Says once that root works on the app's files, where the app runs as root. */
export function tellRoot(
  users: readonly string[],
  { unit, appUser }: Pick<CleanUpDesired, 'unit' | 'appUser'>,
): readonly Finding[] {
  if (!users.includes('root')) return [];
  const why = appUser === null ? `${unit} runs as root` : '`app-user` is root';
  return [{ level: 'notice', message: `${why}: root works on the app's files` }];
}
