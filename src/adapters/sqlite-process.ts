import type { RowChange } from '../model/operation/jobs.ts';
import type { Rehearsal } from '../model/store-row.ts';
import { type RawRow, SqliteCopy } from './sqlite-copy.ts';

/**
 * The process that opens the copy of a database: the same program, started with this word. It answers
 * over its channel, and ends with it.
 */
export const storeWord = '--celeriac-store';

/** What the process is asked for; `rows` is answered in several pieces. */
export type StoreAsk =
  | { readonly ask: 'open'; readonly path: string; readonly answerBytes: number }
  | { readonly ask: 'rows'; readonly table: string; readonly columns: readonly string[] }
  | { readonly ask: 'sample'; readonly table: string }
  | { readonly ask: 'damage' }
  | { readonly ask: 'rehearse'; readonly changes: readonly RowChange[] };

/** What each is answered with. */
export interface StoreAnswers {
  readonly open: null;
  readonly rows: readonly RawRow[];
  readonly sample: readonly (readonly [string, readonly (string | number)[]])[];
  readonly damage: readonly string[];
  readonly rehearse: Rehearsal;
}

export type StoreReply =
  | { readonly kind: 'piece'; readonly rows: readonly RawRow[] }
  | { readonly kind: 'done'; readonly value: unknown }
  | { readonly kind: 'failed'; readonly problem: string };

const rowsAtOnce = 1000;

/** Whether this process was started to open a copy; then it serves it until its parent ends. */
export function servesStore(words: readonly string[] = process.argv): boolean {
  if (words[2] !== storeWord || process.send === undefined) return false;
  let copy: SqliteCopy | null = null;
  let left = 0;
  const say = (reply: StoreReply) => void process.send?.(reply);
  const opened = (): SqliteCopy => {
    if (copy === null) throw new Error('no copy is open');
    return copy;
  };
  const answer = (asked: StoreAsk): unknown => {
    switch (asked.ask) {
      case 'open':
        copy = new SqliteCopy(asked.path);
        left = asked.answerBytes;
        return null;
      case 'sample':
        return opened().sampleValues(asked.table);
      case 'damage':
        return opened().findDamage();
      case 'rehearse':
        return opened().rehearse(asked.changes);
      case 'rows': {
        let piece: RawRow[] = [];
        for (const row of opened().readRows(asked.table, asked.columns)) {
          left -= row.reduce<number>((sum, value) => sum + sizeOf(value), 0);
          if (left < 0) throw new Error('its rows are many times larger than the database');
          piece.push(row);
          if (piece.length < rowsAtOnce) continue;
          say({ kind: 'piece', rows: piece });
          piece = [];
        }
        return piece;
      }
    }
  };
  process.on('disconnect', () => process.exit());
  process.on('message', (asked: StoreAsk) => {
    try {
      say({ kind: 'done', value: answer(asked) });
    } catch (error) {
      say({ kind: 'failed', problem: error instanceof Error ? error.message : String(error) });
    }
  });
  return true;
}

const sizeOf = (value: unknown): number => 8 + (typeof value === 'string' ? value.length * 2 : 0);
