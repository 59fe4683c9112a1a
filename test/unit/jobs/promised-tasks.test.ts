import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';

/** Which tasks a message of Celery's protocol 2 stands for, by the host's own program. */

const host = join(import.meta.dirname, '../../../host');

const program = `
import json, sys
sys.path.insert(0, sys.argv[1])
from celeriac_host.messages_program import called_by, owed_by
print(json.dumps([
    {"called": called_by(text.encode()), "owed": sorted(owed_by(text.encode(), set(wanted)))}
    for text, wanted in json.load(sys.stdin)
]))
`;

interface Read {
  readonly called: string | null;
  readonly owed: readonly string[];
}

function readAll(texts: readonly string[]): Read[] {
  const { stdout, stderr, status } = spawnSync('python3', ['-I', '-c', program, host], {
    input: JSON.stringify(texts.map((text) => [text, all])),
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as Read[];
}

const all = ['own', 'next', 'last', 'body', 'link', 'part', 'argument'];

const signature = (id: string, kwargs: object = {}): object => ({
  task: 'tasks.step',
  args: [],
  kwargs,
  options: { task_id: id, reply_to: 'x' },
  subtask_type: null,
});

const embed = { callbacks: null, errbacks: null, chain: null, chord: null };

const body = (after: object, kwargs: object = {}): Buffer =>
  Buffer.from(JSON.stringify([['argument'], kwargs, { ...embed, ...after }]));

const message = (bytes: Buffer, headers: object = {}): string =>
  JSON.stringify({
    body: bytes.toString('base64'),
    headers: { id: 'own', task: 'tasks.step', ...headers },
    properties: { body_encoding: 'base64' },
  });

test('what follows a task is owed with it', () => {
  const parts = { header: { kwargs: { tasks: [signature('part')] } } };
  const cases = {
    nothing: [message(body({})), []],
    chain: [message(body({ chain: [signature('last'), signature('next')] })), ['last', 'next']],
    chord: [message(body({ chord: signature('body') })), ['body']],
    callback: [message(body({ callbacks: [signature('link')] })), ['link']],
    errback: [message(body({ errbacks: [signature('link')] })), ['link']],
    'group in a chain': [
      message(body({ chain: [signature('next', { tasks: [signature('part')] })] })),
      ['next', 'part'],
    ],
    'chord that is a task': [message(body({}, parts)), ['part']],
    // Only searched: to load it could run code.
    pickle: [message(Buffer.from('\x80\x04\x95 next of a pickle')), ['next']],
    // This interpreter has no Kombu.
    packed: [message(gzipSync(body({})), { compression: 'application/x-gzip' }), []],
  } as const;
  const read = readAll(Object.values(cases).map(([text]) => text));
  expect(Object.fromEntries(Object.keys(cases).map((name, at) => [name, read[at]]))).toEqual(
    Object.fromEntries(
      Object.entries(cases).map(([name, [, after]]) => [
        name,
        { called: 'own', owed: [...after, 'own'].toSorted() },
      ]),
    ),
  );
});

test('of what is no message, all that it mentions is owed, and nothing is its own', () => {
  expect(readAll(['next, not JSON', '[]', '7'])).toEqual([
    { called: null, owed: ['next'] },
    { called: null, owed: [] },
    { called: null, owed: [] },
  ]);
});
