import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { programOf } from '../../src/adapters/agent/agent-start.ts';
import { hostProgram } from '../../src/generated/host-program.ts';
import type { TransactionMeta } from '../../src/model/outcome.ts';
import { seconds } from '../../src/model/units.ts';
import { hostRefusal } from '../lib/refusals.ts';
import { Hand, type PlainOperation } from './lib/hand.ts';
import { shell, waitUntil } from './lib/worker.ts';

const STATE = '/var/lib/celeriac';
const versionFile = 'celeriac_host/state/version.py';
const operations = 'celeriac_host/operations';

const modules = JSON.parse(hostProgram.json()) as Record<string, string>;
const text = modules[versionFile] ?? '';
const version = Number(/^VERSION = (\d+)$/m.exec(text)?.[1]);

/** A version of the agent that knows one operation more. */
const newerModules = {
  ...modules,
  [versionFile]: text.replace(`VERSION = ${version}`, `VERSION = ${version + 1}`),
  [`${operations}/put_file.py`]: modules[`${operations}/write_file.py`] ?? '',
};
const newerProgram = programOf(newerModules);

let machine: Machine;

beforeAll(async () => {
  machine = await startMachine({ name: 'older-version' });
});
afterAll(() => machine?.stop());

const write = (path: string, op = 'write-file'): PlainOperation =>
  ({ op, path, text: 'new', mode: '0644', expects: null }) as PlainOperation;

/** The release of a unit that awaits its verdict. */
const awaiting = (within: number): Partial<TransactionMeta> => ({
  unit: 'redis-server.service',
  release: { confirmWithinSeconds: seconds(within) },
});

test('the agent that the host has is started, and one that is damaged is sent again', async () => {
  const program = `${STATE}/program.py`;
  const sum = () => shell(machine, `sha256sum <${program}`);
  const commit = async (path: string) => {
    await using hand = await Hand.open(machine);
    await hand.commit([write(path)]);
  };
  /** Whether a new run is asked for the agent. */
  const asks = async () => {
    let isSent = false;
    const probed = {
      ...hostProgram,
      json: () => {
        isSent = true;
        return hostProgram.json();
      },
    };
    await using hand = await Hand.open(machine, 'root', probed);
    expect(hand.agent.hello.user).toBe('root');
    return isSent;
  };
  expect(await asks()).toBe(true);
  await commit('/srv/kept-1');
  const whole = await sum();
  expect(await asks()).toBe(false);
  expect(await shell(machine, `stat -c '%a %U' ${program} ${STATE}/program.bin`)).toBe(
    '600 root\n600 root',
  );
  const damages = [
    `printf x >>${program}`,
    `sed -i '3s/./#/' ${program}`,
    `chmod 666 ${program}`,
    `chown nobody ${program}`,
    `rm ${program}`,
  ];
  for (const [index, damage] of damages.entries()) {
    await shell(machine, damage);
    expect(await asks(), damage).toBe(true);
    await commit(`/srv/kept-again-${index}`);
    expect(await asks(), damage).toBe(false);
    expect(await sum()).toBe(whole);
  }
  await shell(machine, 'rm /srv/kept-*');
});

test('an older Celeriac beside a newer one changes nothing, and the host can still roll back', async () => {
  expect(newerModules[versionFile]).not.toBe(text);
  const program = () => shell(machine, `sha256sum <${STATE}/program.py`);
  await using older = await Hand.open(machine);
  await older.commit([write('/srv/older')]);
  const olderProgram = await program();
  expect(await shell(machine, `cat ${STATE}/version`)).toBe(`${version}`);

  await using newer = await Hand.open(machine, 'root', newerProgram);
  const released = await newer.apply([write('/srv/newer', 'put-file')], awaiting(20));
  expect(released.result).toBe('committed');
  expect(await shell(machine, `cat ${STATE}/version`)).toBe(`${version + 1}`);
  const newProgram = await program();
  expect(newProgram).not.toBe(olderProgram);

  // One that was connected before, and one that comes after.
  await using later = await Hand.open(machine);
  for (const each of [older, later]) {
    const refused = await hostRefusal(each.apply([write('/srv/older-again')], awaiting(900)));
    expect(refused.message).toContain(
      `has version '${version + 1}', and this Celeriac reads version ${version}; nothing was changed`,
    );
    expect(refused.failure.next).toContain('the version of Celeriac that wrote it, or a newer one');
  }
  expect(await program()).toBe(newProgram);

  await waitUntil('the host has rolled back the newer release', async () => {
    const { transactions } = await newer.agent.look({ transactions: {} });
    return transactions.at(-1)?.state === 'undone';
  });
  expect(await shell(machine, 'ls /srv')).toBe('older');
});
