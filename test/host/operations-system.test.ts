import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bytes, MiB } from '../../src/model/units.ts';
import { Hand, type PlainOperation, sha256, statuses } from './lib/hand.ts';

// What these do in every corner, and when they are cut, is tested in host/tests; what needs a
// kernel of its own, in kernel.test.ts.

let hand: Hand;

beforeAll(async () => {
  hand = await Hand.start('operations-system');
});

afterAll(() => hand?.stop());

test('write-file: a new file with its folders; again; undone; again', async () => {
  const path = '/srv/a/b/settings';
  const write: PlainOperation = {
    op: 'write-file',
    path,
    text: 'one\n',
    mode: '0640',
    expects: null,
  };
  const { transaction } = await hand.commit([write]);
  expect(await hand.shell(`stat -c '%a %U:%G' ${path} && cat ${path}`)).toBe('640 root:root\none');
  expect(statuses(await hand.commit([write]))).toEqual(['already']);
  await hand.undo(transaction);
  expect(await hand.shell('ls -d /srv/a 2>&1 || true')).toContain('No such file');
  expect(statuses(await hand.commit([write]))).toEqual(['done']);
});

test('a file of another user is written, removed, given a mode; each undo restores it', async () => {
  const file = '/srv/kept';
  const old = 'old\n';
  await hand.shell(
    `printf '${old}' >${file}; chown deploy:nosudo ${file}; chmod 0604 ${file}; touch -d @1234567890.5 ${file}`,
  );
  const look = `stat -c '%a %U:%G %.Y' ${file} && sha256sum <${file}`;
  const before = await hand.shell(look);
  const changes: readonly (readonly [PlainOperation, left: string])[] = [
    [
      { op: 'write-file', path: file, text: 'new\n', mode: '0644', expects: sha256(old) },
      '644 deploy:nosudo\nnew',
    ],
    [{ op: 'set-mode', path: file, mode: '0600', owner: 'root' }, '600 root:nosudo\nold'],
    [{ op: 'remove-file', path: file, expects: sha256(old) }, ''],
  ];
  for (const [change, left] of changes) {
    const { transaction } = await hand.commit([change]);
    expect(await hand.shell(`stat -c '%a %U:%G' ${file} 2>&- && cat ${file} || true`)).toBe(left);
    expect(statuses(await hand.commit([change]))).toEqual(['already']);
    await hand.undo(transaction);
    expect(await hand.shell(look)).toBe(before);
  }
});

test('a file that has changed since the plan is refused', async () => {
  const file = '/srv/stale';
  await hand.shell(`echo other >${file}`);
  const expects = sha256('seen\n');
  for (const change of [
    { op: 'write-file', path: file, text: 'x', mode: '0644', expects },
    { op: 'remove-file', path: file, expects },
  ] satisfies readonly PlainOperation[]) {
    expect((await hand.refuse([change])).message).toContain(
      `${file} changed after the plan was made`,
    );
  }
  expect(await hand.shell(`cat ${file}`)).toBe('other');
});

test.each([
  ['vm.nonsense', 'this kernel has no setting'],
  ['vm/../../tmp', 'invalid name of a kernel setting'],
])('set-sysctl: %s is refused', async (name, says) => {
  const set: PlainOperation = { op: 'set-sysctl', name, value: '10' };
  expect((await hand.refuse([set])).message).toContain(says);
});

describe('swap', () => {
  const path = '/swapfile';
  const make = (
    where = path,
    sizeMebibytes = 16,
    filesystem = 'ext4',
  ): Extract<PlainOperation, { op: 'make-swap' }> => ({
    op: 'make-swap',
    path: where,
    sizeBytes: bytes(sizeMebibytes * MiB),
    filesystem,
    fill: 'allocate',
    nocow: false,
  });

  test.each([
    ['a file with data', `truncate -s 16M ${path}; echo diary >>${path}`, 'is not a swap file'],
    ['a link', `ln -s /etc/passwd ${path}`, 'is a symbolic link'],
    ['a folder', `mkdir ${path}`, 'is not a regular file'],
  ])('is not created in place of %s', async (_, script, says) => {
    await hand.shell(`rm -rf ${path}; ${script}`);
    const look = `stat -c '%F %i %s %Z' ${path}`;
    const before = await hand.shell(look);
    expect((await hand.refuse([make()])).message).toContain(says);
    expect(await hand.shell(look)).toBe(before);
  });

  test.each([
    [make(path, 1024 * 1024), `${path} needs 1048576 MiB`],
    [make('/none/swapfile'), '/none is not a folder'],
    [make('/run/swapfile'), 'on tmpfs; it was ext4 when the plan was made'],
  ])('is not created without enough space (%#)', async (wanted, says) => {
    await hand.shell(`rm -rf ${path}`);
    // Only what the plan saw of `/` is so here: a container's is another than a VM's.
    const { type } = (await hand.agent.look({ swap: { path } })).swap.filesystem;
    const operation = wanted.path === path ? { ...wanted, filesystem: type } : wanted;
    expect((await hand.refuse([operation])).message).toContain(says);
    expect(await hand.shell('ls -A / /run | grep swapfile || true')).toBe('');
  });

  test('is not turned on from a file of another kind', async () => {
    await hand.shell(`rm -rf ${path}; head -c 1M /dev/zero >${path}; chmod 600 ${path}`);
    const failure = await hand.refuse([{ op: 'swap-on', path }]);
    expect(failure.message).toContain(`could not enable swap on ${path}`);
    expect(failure.ran?.[0]).toBe('swapon');
  });
});
