import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bytes, MiB } from '../../src/model/units.ts';
import { Hand, messages, type PlainOperation, sha256, statuses } from './hand.ts';

let hand: Hand;

beforeAll(async () => {
  hand = await Hand.start('operations-system');
});

afterAll(async () => {
  await hand?.stop();
});

const write = (path: string, text: string, before: string | null = null, mode = '0644') =>
  ({
    op: 'write-file',
    path,
    text,
    mode,
    expects: before === null ? null : sha256(before),
  }) satisfies PlainOperation;

describe('write-file', () => {
  const path = '/srv/a/b/settings';

  test('a new file, its folders; again; undone; again', async () => {
    const first = await hand.commit([write(path, 'one\n', null, '0640')]);
    expect(await hand.shell(`stat -c '%a %U:%G' ${path} && cat ${path}`)).toBe(
      '640 root:root\none',
    );
    expect(statuses(await hand.commit([write(path, 'one\n', null, '0640')]))).toEqual(['already']);
    await hand.undo(first.transaction);
    expect(await hand.shell('ls -A /srv')).toBe('');
    expect(statuses(await hand.commit([write(path, 'one\n', null, '0640')]))).toEqual(['done']);
  });

  test('what was there comes back: bytes, mode, owner, time', async () => {
    const file = '/srv/kept';
    await hand.shell(
      `printf 'old\\377' >${file}; chown deploy:nosudo ${file}; chmod 0604 ${file}; touch -d @1234567890.5 ${file}`,
    );
    const look = `stat -c '%a %U:%G %.Y' ${file} && sha256sum <${file}`;
    const before = await hand.shell(look);
    const seen = (await hand.shell(`sha256sum <${file}`)).slice(0, 64);
    const change: PlainOperation = { ...write(file, 'new\n'), expects: sha256('x') };
    const { transaction } = await hand.commit([
      { ...change, expects: seen as typeof change.expects },
    ]);
    expect(await hand.shell(`stat -c '%a %U:%G' ${file} && cat ${file}`)).toBe(
      '644 deploy:nosudo\nnew',
    );
    await hand.undo(transaction);
    expect(await hand.shell(look)).toBe(before);
  });

  test('refuses links, folders and files that changed after the plan', async () => {
    await hand.shell('ln -s /etc/passwd /srv/link; mkdir /srv/folder; echo other >/srv/stale');
    const passwd = await hand.shell('sha256sum /etc/passwd');
    expect((await hand.refuse([write('/srv/link', 'x')])).message).toContain(
      '/srv/link is a symbolic link to /etc/passwd',
    );
    expect(await hand.shell('sha256sum /etc/passwd')).toBe(passwd);
    expect((await hand.refuse([write('/srv/folder', 'x')])).message).toContain(
      '/srv/folder is not a regular file',
    );
    for (const before of [null, 'seen\n']) {
      expect((await hand.refuse([write('/srv/stale', 'x', before)])).message).toContain(
        '/srv/stale changed after the plan was made',
      );
    }
    const gone = await hand.refuse([write('/srv/none', 'x', 'seen\n')]);
    expect(gone.message).toContain('now there is nothing');
    expect(await hand.shell('cat /srv/stale; ls /srv/none 2>&1 || true')).toMatch(/^other\nls: /);
  });
});

test('remove-file: removed; again; undone with everything; refused when it changed', async () => {
  const file = '/srv/removed';
  await hand.shell(`echo text >${file}; chown deploy ${file}; chmod 0600 ${file}`);
  const remove: PlainOperation = { op: 'remove-file', path: file, expects: sha256('text\n') };
  const stale: PlainOperation = { ...remove, expects: sha256('else\n') };
  expect((await hand.refuse([stale])).message).toContain(`${file} changed after the plan`);
  const { transaction } = await hand.commit([remove]);
  expect(await hand.shell(`ls ${file} 2>&1 || true`)).toContain('No such file');
  expect(statuses(await hand.commit([remove]))).toEqual(['already']);
  await hand.undo(transaction);
  expect(await hand.shell(`stat -c '%a %U' ${file} && cat ${file}`)).toBe('600 deploy\ntext');
  expect(statuses(await hand.commit([remove]))).toEqual(['done']);
});

test('set-mode: set; again; undone', async () => {
  const file = '/srv/mode';
  await hand.shell(`echo text >${file}; chown deploy ${file}; chmod 0666 ${file}`);
  const set: PlainOperation = { op: 'set-mode', path: file, mode: '0600', owner: 'root' };
  const { transaction } = await hand.commit([set]);
  expect(await hand.shell(`stat -c '%a %U' ${file}`)).toBe('600 root');
  expect(statuses(await hand.commit([set]))).toEqual(['already']);
  await hand.undo(transaction);
  expect(await hand.shell(`stat -c '%a %U' ${file}`)).toBe('666 deploy');
});

test('set-sysctl: set; again; undone; a name that the kernel has not', async () => {
  const set: PlainOperation = { op: 'set-sysctl', name: 'vm.swappiness', value: '10' };
  const before = await hand.shell('sysctl -n vm.swappiness');
  const { transaction } = await hand.commit([set]);
  expect(await hand.shell('sysctl -n vm.swappiness')).toBe('10');
  expect(statuses(await hand.commit([set]))).toEqual(['already']);
  await hand.undo(transaction);
  expect(await hand.shell('sysctl -n vm.swappiness')).toBe(before);
  for (const name of ['vm.nonsense', 'vm/../../tmp']) {
    const failure = await hand.refuse([{ ...set, name }]);
    expect(failure.message).toMatch(/this kernel has no setting|no name of a kernel setting/);
  }
  expect((await hand.refuse([{ ...set, value: 'much' }])).message).toContain('Invalid argument');
});

describe('swap', () => {
  const path = '/swapfile';
  const make = (size = 16): PlainOperation => ({
    op: 'make-swap',
    path,
    sizeBytes: bytes(size * MiB),
  });
  const on: PlainOperation = { op: 'swap-on', path };
  const off: PlainOperation = { op: 'swap-off', path };
  const look = `stat -c '%s %a %U' ${path}; blkid -p -s TYPE -o value ${path}; swapon --show=NAME --noheadings`;
  const good = `${16 * MiB} 600 root\nswap\n${path}`;

  test('made and in use; again; undone to nothing; again', async () => {
    const { transaction } = await hand.commit([make(), on]);
    expect(await hand.shell(look)).toBe(good);
    // Without holes, or swapon would have refused.
    expect(Number(await hand.shell(`stat -c %b ${path}`)) * 512).toBeGreaterThanOrEqual(16 * MiB);
    expect(statuses(await hand.commit([make(), on]))).toEqual(['already', 'already']);
    expect((await hand.refuse([make(64)])).message).toContain('in use as swap');
    await hand.undo(transaction);
    expect(await hand.shell(`ls -A / | grep swapfile || true`)).toBe('');
    expect(statuses(await hand.commit([make(), on]))).toEqual(['done', 'done']);
  });

  test('another size, by way of off; put back with its own UUID', {
    tags: ['nightly'],
  }, async () => {
    const id = `blkid -p -s UUID -o value ${path}; stat -c %s ${path}; swapon --show=NAME --noheadings`;
    const before = await hand.shell(id);
    const { transaction } = await hand.commit([off, make(32), on]);
    expect(await hand.shell(`stat -c %s ${path}`)).toBe(String(32 * MiB));
    await hand.undo(transaction);
    expect(await hand.shell(id)).toBe(before);
    await hand.commit([off]);
    expect(statuses(await hand.commit([off]))).toEqual(['already']);
  });

  test.each([
    ['of zeros, not formatted', `head -c 16M /dev/zero >${path}`],
    ['open to everybody', `head -c 16M /dev/zero >${path}; mkswap ${path}; chmod 0644 ${path}`],
    ['with holes', `truncate -s 16M ${path}; mkswap ${path}`],
    ['empty', `: >${path}`],
  ])('a file %s becomes swap, and is put back', async (_, script) => {
    await hand.shell(
      `{ swapoff ${path}; rm -f ${path}; ${script}; chown deploy ${path}; } 2>/dev/null >&2`,
    );
    const state = `stat -c '%s %a %U' ${path}; blkid -p -s UUID -o value ${path} || true`;
    const before = await hand.shell(state);
    const { transaction } = await hand.commit([make(), on]);
    expect(await hand.shell(look)).toBe(good);
    await hand.undo(transaction);
    expect(await hand.shell(state)).toBe(before);
  });

  test('refuses what is not its to replace, and what does not fit', async () => {
    await hand.shell(`rm -f ${path}; truncate -s 16M ${path}; echo diary >>${path}`);
    const before = await hand.shell(`sha256sum ${path}`);
    expect((await hand.refuse([make()])).message).toContain('is no swap file');
    expect(await hand.shell(`sha256sum ${path}`)).toBe(before);
    await hand.shell(`rm ${path}; ln -s /etc/passwd ${path}`);
    expect((await hand.refuse([make()])).message).toContain('is a symbolic link');
    await hand.shell(`rm ${path}`);
    expect((await hand.refuse([make(1024 * 1024)])).message).toContain('1024 GiB are needed');
    const nowhere = { ...make(), path: '/none/swapfile' } as PlainOperation;
    expect((await hand.refuse([nowhere])).message).toContain('/none is not a directory');
    const memory = await hand.refuse([{ ...make(), path: '/run/swapfile' } as PlainOperation]);
    expect(memory.message).toContain("tmpfs, which can't hold a swap file");
    expect(await hand.shell('ls -A / /run | grep swapfile || true')).toBe('');
  });

  test('writes it where fallocate is not to be relied on, and says how far it is', {
    tags: ['nightly'],
  }, async () => {
    await hand.shell(
      'truncate -s 140M /root/disk && mkfs.ext2 -q /root/disk && mkdir -p /mnt/old && mount -o loop /root/disk /mnt/old',
    );
    const file = '/mnt/old/swapfile';
    const outcome = await hand.commit([
      { op: 'make-swap', path: file, sizeBytes: bytes(96 * MiB) },
      { op: 'swap-on', path: file },
    ]);
    expect(messages(outcome)[0]).toContain('written');
    expect(hand.notes).toContain(`${file}: 64 MiB of 96 MiB written`);
    await hand.undo(outcome.transaction);
    expect(await hand.shell('ls /mnt/old; umount /mnt/old; rm /root/disk')).toBe('lost+found');
  });

  test('swap-on says why, when the file is no swap', { tags: ['nightly'] }, async () => {
    await hand.shell(`head -c 1M /dev/zero >${path}; chmod 600 ${path}`);
    const failure = await hand.refuse([on]);
    expect(failure.message).toContain(`${path} could not be turned on as swap`);
    expect(failure.ran?.[0]).toBe('swapon');
    await hand.shell(`rm ${path}`);
  });

  test('swap-off refuses when memory could not hold what is in it', {
    tags: ['nightly'],
  }, async () => {
    await hand.commit([make(256), on]);
    // Memory of a tmpfs: pushed out by force, then nearly all the rest is taken.
    await hand.shell(`mkdir -p /mnt/memory && mount -t tmpfs -o size=2G none /mnt/memory
      systemd-run --quiet --wait --unit=filler sh -euc 'fallocate -l 200M /mnt/memory/out
        echo 150M >/sys/fs/cgroup/system.slice/filler.service/memory.reclaim'
      free=$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)
      fallocate -l $((free - 80 * 1024))K /mnt/memory/in`);
    const failure = await hand.refuse([off]);
    expect(failure.message).toMatch(/holds \d+ MiB and only \d+ MiB of memory are available/);
    expect(await hand.shell('swapon --show=NAME --noheadings')).toBe(path);
    await hand.shell('umount /mnt/memory');
    await hand.commit([off]);
  });
});
