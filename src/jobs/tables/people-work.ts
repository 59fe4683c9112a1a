import type { StoreTable } from '../../model/facts/store.ts';
import { hasMachineNoun, isBusinessName, isMachineWord } from './job-words.ts';
import { snakeOf } from './names.ts';

/*
 * A to-do list, a course or a ticket system has tasks with the statuses and times of jobs as well: these
 * are told by the columns that only work of people has.
 */

/** Columns of work that people do: a to-do list, a job offer. */
const peopleColumns =
  /^(?:assignee|assignee_id|assigned_user|assigned_user_id|due_(?:date|on|at)|(?:(?:min|max)_)?salary(?:_(?:min|max|from|to))?|employment_type)$/;

/** Columns that say how often something is to run: such a row is never done. */
const scheduleColumns =
  /^(?:cron(?:_(?:expression|expr|schedule|string|spec))?|crontab(?:_id)?|rrule|recurrence(?:_rule)?)$/;

/** Whose a row is. Jobs have an owner as well. */
const personColumns =
  /^(?:(?:auth_)?user|owner|author|creator|student|learner|pupil|instructor|member|person|people|employee|contact|customer|client|lead|reporter|requester|agent|technician)(?:_id|_uuid)?$|^(?:created|requested|reported|completed|submitted)_by(?:_id)?$/;

/** What people read of a row. */
const headingColumns =
  /^(?:title|subject|heading|headline|summary|description|instructions|details|notes?|body|comments?)$/;

/** Where people find a row. */
const placeColumns =
  /^(?:(?:course|lesson|chapter|classroom|assignment|quiz|board|list|todo_list|sprint|milestone|epic|ticket|issue|case|deal|opportunity|company|department)(?:_id|_uuid)?|location|position|sort_order|labels?|tags?)$/;

/** What only a program writes into a row, or reads from it. */
const machineColumns =
  /(?:^|_)(?:attempts?|attempted|retry|retries|tries|worker|progress|errors?|exception|traceback|stacktrace|failure|failed|heartbeat|queued|enqueued|payload|args|kwargs|params|parameters|input|output|stdout|stderr|pid|hostname|locked_(?:by|at)|lease|celery|exit_code|timeout|runtime|processing|processed|command|(?:file|result|source|target|storage|video|audio|image)_(?:path|key|url)|checksum|bytes)(?:_|$)/;

/** Why the rows of a table are not work for a program, whatever its name is; `null`: nothing says so. */
export function doubtColumns(table: StoreTable): string | null {
  const { columns, foreignKeys } = table;
  const find = (words: RegExp): string | undefined =>
    columns.find(({ name }) => words.test(snakeOf(name)))?.name;
  const assigned = foreignKeys.find(
    (key) => snakeOf(key.column).startsWith('assigned_to') && isBusinessName(key.table),
  );
  // A worker's name is text; the number of an assignee is that of a person.
  const numbered = columns.find(
    ({ name, type }) => /^assigned_to(?:_id)?$/.test(snakeOf(name)) && /int|serial/i.test(type),
  );
  const people = find(peopleColumns) ?? assigned?.column ?? numbered?.name;
  if (people !== undefined) return `its column ${people} shows that people work on its rows`;
  const schedule = find(scheduleColumns);
  if (schedule !== undefined) return `its column ${schedule} shows that its rows are schedules`;
  const read = peoplesColumns(table);
  return read.length === 0 || showsMachine(table)
    ? null
    : `its columns ${read.join(', ')} suggest that people work on its rows, and none suggests a program`;
}

/**
 * Columns that are no evidence alone, but are together: whose the row is, what people read of it, where
 * they find it. Empty unless there are two kinds of them, or two texts.
 */
function peoplesColumns({ columns, foreignKeys }: StoreTable): readonly string[] {
  const called = (words: RegExp): readonly string[] =>
    columns.map(({ name }) => name).filter((name) => words.test(snakeOf(name)));
  const keys = foreignKeys.filter((key) => isBusinessName(key.table)).map(({ column }) => column);
  const people = [...new Set([...called(personColumns), ...keys])];
  const headings = called(headingColumns);
  const places = called(placeColumns).filter((name) => !people.includes(name));
  const kinds = [people, headings, places].filter((each) => each.length > 0);
  if (kinds.length < 2 && headings.length < 2) return [];
  return kinds.flatMap((each) => each.slice(0, 2));
}

/** Whether its name, a column or a status is one of work that a program does. */
const showsMachine = ({ name, columns, statuses = [] }: StoreTable): boolean =>
  hasMachineNoun(name) ||
  columns.some((column) => machineColumns.test(snakeOf(column.name))) ||
  statuses.some((status) => isMachineWord(String(status)));
