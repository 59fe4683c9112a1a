import type { TableSpec } from '../../config/stores-input.ts';
import type { StoreTable } from '../../model/facts/store.ts';
import { singularOf, snakeOf } from './names.ts';

/** Known column names, in `snake_case`; the first one that exists is used. */
export const columnNames = {
  created: ['created_at', 'created', 'submitted_at', 'queued_at', 'date_created', 'creation_time'],
  started: ['started_at', 'started', 'date_started', 'start_time', 'processing_started_at'],
  completed: ['completed_at', 'finished_at', 'ended_at', 'date_done', 'end_time', 'done_at'],
  updated: [
    'updated_at',
    'modified_at',
    'updated',
    'modified',
    'last_updated',
    'last_modified',
    'last_update',
    'heartbeat_at',
    'last_heartbeat',
    'last_seen_at',
    'last_seen',
  ],
  error: ['error_message', 'error', 'last_error', 'failure_reason', 'error_text'],
  task: [
    'celery_task_id',
    'celery_task_uuid',
    'celery_id',
    'celery_uuid',
    'celery_job_id',
    'celery_result_id',
    'async_result_id',
    'current_task_id',
    'active_task_id',
    'async_task_id',
    'background_task_id',
    'worker_task_id',
    'last_task_id',
    'task_id',
    'task_uuid',
  ],
} as const;

/** Columns whose distinct values the host returns: they show whether a table holds jobs. */
export const statusColumns: readonly string[] = ['status'];

/** PostgreSQL turns an unquoted `celeryTaskId` into `celerytaskid`. */
const isCalled = (column: string, name: string): boolean =>
  snakeOf(column) === name || column.toLowerCase() === name.replaceAll('_', '');

/** The first column with one of these names, as spelled in the table. */
export function findColumn(table: StoreTable, names: readonly string[]): string | null {
  for (const name of names) {
    const column = table.columns.find((candidate) => isCalled(candidate.name, name));
    if (column) return column.name;
  }
  return null;
}

/** The column that identifies a row. */
export const idColumn = (table: StoreTable, spec?: TableSpec): string | null =>
  spec?.id ?? findColumn(table, ['id', 'uuid', `${singularOf(table.name)}_id`]);

/** The column with the status of a row. */
export const statusColumn = (table: StoreTable, spec?: TableSpec): string | null =>
  spec?.status ?? findColumn(table, statusColumns);

/** Celery task ids are text: an integer or a foreign key is an id of the app. */
export function taskColumn(table: StoreTable): string | null {
  const isTie = (column: string): boolean =>
    table.foreignKeys.some((key) => key.column === column) || isWhole(typeOf(table, column));
  const named = columnNames.task.map((name) => findColumn(table, [name]));
  return named.find((column) => column !== null && !isTie(column)) ?? null;
}

/** The declared type; empty when there is none, or no such column. */
export const typeOf = (table: StoreTable, column: string): string =>
  table.columns.find(({ name }) => name === column)?.type ?? '';

/** Whether columns of these types can reference each other; an integer and text cannot. */
export const areAlike = (one: string, other: string): boolean =>
  !((isWhole(one) && isText(other)) || (isText(one) && isWhole(other)));

const isWhole = (type: string): boolean => /int|serial/i.test(type);
const isText = (type: string): boolean => /char|text|clob|uuid|string/i.test(type);
