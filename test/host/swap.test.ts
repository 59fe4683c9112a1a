import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { bytes, MiB } from '../../src/model/units.ts';
import { type BundleRun, runBundle } from '../lib/bundle.ts';
import { Hand, messages, type PlainOperation, statuses } from './lib/hand.ts';
import { inputsFor } from './lib/inputs.ts';
import { makeSwap } from './lib/operations.ts';
import { readTransaction } from './lib/worker.ts';

// What every run of a host needs of swap is in kernel.test.ts.

const path = '/swapfile';
const make = (sizeMebibytes?: number) => makeSwap(path, sizeMebibytes);
const on: PlainOperation = { op: 'swap-on', path };
const off: PlainOperation = { op: 'swap-off', path };

let hand: Hand;

beforeAll(async () => {
  hand = await Hand.start('swap', { needs: ['swap', 'sysctl', 'size'] });
});

afterAll(() => hand?.stop());

describe('operations', { tags: ['nightly'] }, () => {
  beforeEach(() => hand.shell(`swapoff -a; rm -f ${path}`));

  test('another size, after turning it off; undone with its own UUID', async () => {
    await hand.commit([make(), on]);
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
  ])('a file %s becomes swap, and is restored', async (_, script) => {
    await hand.shell(`{ ${script}; chown deploy ${path}; } 2>/dev/null >&2`);
    const state = `stat -c '%s %a %U' ${path}; blkid -p -s UUID -o value ${path} || true`;
    const before = await hand.shell(state);
    const { transaction } = await hand.commit([make(), on]);
    expect(
      await hand.shell(
        `stat -c '%s %a %U' ${path}; blkid -p -s TYPE -o value ${path}; swapon --show=NAME --noheadings`,
      ),
    ).toBe(`${16 * MiB} 600 root\nswap\n${path}`);
    await hand.undo(transaction);
    expect(await hand.shell(state)).toBe(before);
  });

  test('written where fallocate is unreliable; it reports its progress', async () => {
    await hand.shell(
      'truncate -s 140M /root/disk && mkfs.ext2 -q /root/disk && mkdir -p /mnt/old && mount -o loop /root/disk /mnt/old',
    );
    const file = '/mnt/old/swapfile';
    const outcome = await hand.commit([
      {
        op: 'make-swap',
        path: file,
        sizeBytes: bytes(96 * MiB),
        filesystem: 'ext2',
        fill: 'write',
        nocow: false,
      },
      { op: 'swap-on', path: file },
    ]);
    expect(messages(outcome)[0]).toContain('written');
    expect(hand.notes).toContain(`${file}: 64 MiB of 96 MiB written`);
    await hand.undo(outcome.transaction);
    expect(await hand.shell('ls /mnt/old; umount /mnt/old; rm /root/disk')).toBe('lost+found');
  });

  test('not turned off if memory could not hold its content', async () => {
    await hand.commit([make(256), on]);
    // Memory of a tmpfs: pushed out by force, then nearly all the rest is taken.
    await hand.shell(`mkdir -p /mnt/memory && mount -t tmpfs -o size=2G none /mnt/memory
      systemd-run --quiet --wait --unit=filler sh -euc 'fallocate -l 200M /mnt/memory/out
        echo 150M >/sys/fs/cgroup/system.slice/filler.service/memory.reclaim'
      free=$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)
      fallocate -l $((free - 80 * 1024))K /mnt/memory/in`);
    const failure = await hand.refuse([off]);
    expect(failure.message).toMatch(/holds \d+ MiB, but only \d+ MiB of memory are available/);
    expect(await hand.shell('swapon --show=NAME --noheadings')).toBe(path);
    await hand.shell('umount /mnt/memory');
    await hand.commit([off]);
  });
});

describe('provision, from any unfinished state', { tags: ['nightly'] }, () => {
  const provision = (inputs: Readonly<Record<string, string>> = {}): Promise<BundleRun> =>
    runBundle('provision', inputsFor(hand.machine, inputs));

  const succeed = async (): Promise<BundleRun> => {
    const run = await provision();
    expect(run.code, run.log).toBe(0);
    return run;
  };

  /** What provision is there for, whatever way led there. */
  async function readSwap(): Promise<Record<string, string>> {
    const asked = {
      active: "awk 'NR > 1 {print $1, $2, $3}' /proc/swaps",
      file: `stat -c "%F %a %U %G %s" ${path}`,
      format: `blkid -p -s TYPE -o value ${path}`,
      fstab: 'cat /etc/fstab',
      swappiness: 'cat /proc/sys/vm/swappiness',
      settings: 'cat /etc/sysctl.d/*celeriac*',
    };
    const answers = await hand.shell(Object.values(asked).join('; echo ---; '));
    return Object.fromEntries(
      answers.split('---\n').map((answer, index) => [Object.keys(asked)[index], answer.trim()]),
    );
  }

  test.each([
    {
      state: 'a file that mkswap never saw',
      script: `swapoff ${path}; rm ${path}; fallocate -l 2G ${path}; chmod 600 ${path}; sed -i '/swapfile/d' /etc/fstab`,
      operations: ['make-swap', 'swap-on', 'write-file'],
    },
    {
      state: 'swap that fstab does not know',
      script: "sed -i '/swapfile/d' /etc/fstab",
      operations: ['write-file'],
    },
    {
      state: 'a line in fstab, and no file',
      script: `swapoff ${path}; rm ${path}`,
      operations: ['make-swap', 'swap-on'],
    },
    {
      state: 'swap of another size, in use',
      script: `swapoff ${path}; rm ${path}; fallocate -l 512M ${path}; chmod 600 ${path}; mkswap ${path}; swapon ${path}`,
      operations: ['swap-off', 'make-swap', 'swap-on'],
    },
    {
      state: 'swap that others may read, in use',
      script: `chmod 644 ${path}`,
      operations: ['set-mode'],
    },
  ])('$state', async ({ script, operations }) => {
    await succeed();
    const desired = await readSwap();
    expect(desired).toMatchObject({
      active: `${path} file 2097148`,
      file: 'regular file 600 root root 2147483648',
      format: 'swap',
      fstab: expect.stringMatching(/^\/swapfile none swap sw 0 0$/m),
      swappiness: '10',
    });
    await hand.shell(`set -e; ${script}`);
    expect(await readSwap().catch(() => null)).not.toEqual(desired);

    const run = await succeed();
    const { plan } = await readTransaction(hand.machine, run.outputs.transaction ?? '');
    expect(plan.operations.map(({ op }) => op)).toEqual(operations);
    expect(await readSwap()).toEqual(desired);
    const again = await succeed();
    expect(again.outputs.changed).toBe('false');
    expect(await readSwap()).toEqual(desired);
  });

  test('more swap than fits on the disk is refused', async () => {
    const run = await provision({ 'swap-size': '10T' });
    expect(run.code).toBe(1);
    expect(run.log).toMatch(/10 TiB of swap does not fit on/);
    expect(run.log).toMatch(/where: input swap-size/);
    expect(run.log).toMatch(/expected: at most \d+M/);
  });
});
