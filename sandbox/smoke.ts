// What the sandbox promises, tried on real machines: node sandbox/smoke.ts
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { type Machine, SandboxError, startMachine } from './machine.ts';

const began = Date.now();

async function step(title: string, body: () => Promise<void>): Promise<void> {
  const start = Date.now();
  await body();
  process.stdout.write(`ok  ${((Date.now() - start) / 1000).toFixed(1)} s  ${title}\n`);
}

async function output(machine: Machine, command: string): Promise<string> {
  return (await machine.run(command)).stdout.trim();
}

async function assertClock(machine: Machine): Promise<void> {
  const before = Date.now() / 1000;
  const there = Number(await output(machine, 'date +%s.%N'));
  const after = Date.now() / 1000;
  assert.ok(there > before - 1 && there < after + 1, `the clock is off: ${there - before} s`);
}

/** Does the port still take connections? */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('close', () => socket.destroy());
    setTimeout(() => socket.destroy(), 1000).unref();
  });
}

await using cleanup = new AsyncDisposableStack();
let machine!: Machine;

await step('up', async () => {
  machine = await startMachine({ name: 'smoke' });
  cleanup.defer(() => machine.stop());
});

await step('clean: running, no worker, no way out, right clock', async () => {
  assert.equal(await output(machine, 'systemctl is-system-running'), 'running');
  assert.equal(await output(machine, 'pgrep -fc "[c]elery -A" || true'), '0');
  assert.equal(
    await output(
      machine,
      'timeout 3 bash -c "</dev/tcp/1.1.1.1/443" 2>&1 && echo out || true',
    ).then((s) => s.endsWith('out')),
    false,
  );
  await assertClock(machine);
});

await step('three resets: each a host without the changes before', async () => {
  for (let round = 0; round < 3; round++) {
    await machine.writeFile('/root/mark', `it's round ${round}\n`, '0600');
    assert.equal(await machine.readFile('/root/mark'), `it's round ${round}\n`);
    assert.equal(await output(machine, 'stat -c %a /root/mark'), '600');
    await machine.reset();
    assert.equal((await machine.run('test -e /root/mark', { allowFailure: true })).code, 1);
    await assertClock(machine);
  }
});

await step('deploy has sudo -n, nosudo has not', async () => {
  const deploy = await machine.run('sudo -n id -un', { user: 'deploy' });
  assert.equal(deploy.stdout.trim(), 'root');
  const nosudo = await machine.run('sudo -n id -un', { user: 'nosudo', allowFailure: true });
  assert.equal(nosudo.code, 1);
  await assert.rejects(machine.run('echo so >&2; exit 3'), /code 3: so/);
});

await step('real swap', async () => {
  await machine.run(
    'fallocate -l 512M /swapfile && chmod 600 /swapfile && mkswap /swapfile && swapon /swapfile',
  );
  assert.match(
    await output(machine, 'swapon --show --bytes --noheadings'),
    /^\/swapfile file 53686\d+ /,
  );
});

await step(
  'a memory limit of a cgroup kills what exceeds it, and the kernel log says so',
  async () => {
    const eat = 'python3 -c "x = bytearray(200 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1"';
    const eaten = await machine.run(
      `systemd-run --quiet --wait --collect -p MemoryMax=64M -p MemorySwapMax=0 ${eat}`,
      { allowFailure: true },
    );
    assert.notEqual(eaten.code, 0);
    assert.match(
      await output(machine, 'journalctl -k --no-pager -o cat'),
      /Memory cgroup out of memory/,
    );
  },
);

await step('a worker completes a batch that came in over HTTP', async () => {
  await machine.reset();
  await machine.breakInto('healthy');
  const base = `http://127.0.0.1:${machine.httpPort}`;
  const body = new URLSearchParams({
    links: 'https://a.example/1\nhttps://a.example/2',
    variations: '1',
  });
  const answer = await fetch(`${base}/api/batch`, { method: 'POST', body });
  assert.equal(answer.status, 200);
  const { batch_id: batch } = (await answer.json()) as { batch_id: string };
  let status: { status: string; progress: number; links: { completed: number } };
  const deadline = Date.now() + 60_000;
  do {
    status = (await (await fetch(`${base}/api/batch/${batch}/status`)).json()) as typeof status;
  } while (status.status !== 'completed' && Date.now() < deadline);
  assert.equal(status.status, 'completed');
  assert.equal(status.progress, 100);
  assert.equal(status.links.completed, 2);
  const jobs = (await (await fetch(`${base}/api/jobs?limit=10`)).json()) as {
    jobs: { status: string }[];
  };
  assert.deepEqual(
    jobs.jobs.map((job) => job.status),
    ['completed'],
  );
});

await step('redis gone: health is 503 and says why', async () => {
  await machine.run('systemctl stop redis-server');
  const health = await fetch(`http://127.0.0.1:${machine.httpPort}/api/health`);
  assert.equal(health.status, 503);
  const answer = (await health.json()) as { status: string; checks: Record<string, string> };
  assert.equal(answer.status, 'degraded');
  assert.notEqual(answer.checks.redis, 'ok');
  assert.equal(answer.checks.database, 'ok');
});

await step('a reboot keeps the disk, a crash what was synced', async () => {
  await machine.run('echo kept >/root/kept');
  await machine.reboot();
  assert.equal(await machine.readFile('/root/kept'), 'kept\n');
  await assertClock(machine);
  await machine.run('echo synced >/root/synced && sync && echo lost >/root/lost');
  await machine.crash();
  assert.equal(await machine.readFile('/root/synced'), 'synced\n');
  assert.match(
    await output(machine, 'cat /root/lost 2>&1 || true'),
    /^(No such file|.*No such file.*|)$/,
  );
});

await step('off: refused; on again: the same ports', async () => {
  await machine.powerOff();
  assert.equal(await answers(machine.sshPort), false);
  await machine.powerOn();
  assert.equal(await machine.readFile('/root/synced'), 'synced\n');
});

await step('the cable out, the host frozen: commands hang, then go on', async () => {
  for (const [cut, mend] of [
    [machine.cutLink, machine.restoreLink],
    [machine.freeze, machine.thaw],
  ] as const) {
    await cut();
    const hung = await machine.run('true', { allowFailure: true, timeoutSeconds: 3 });
    assert.equal(hung.code, 124);
    await mend();
    assert.equal(await output(machine, 'echo back'), 'back');
  }
});

await step('state before', async () => {
  await machine.stop();
  machine = await startMachine({ name: 'smoke', state: 'before' });
  assert.equal(await output(machine, 'systemctl is-active celery-worker'), 'active');
  assert.equal(
    await output(machine, 'systemctl show -P Type,Restart celery-worker | tr "\\n" ,'),
    'simple,always,',
  );
  const strays = await output(
    machine,
    'for p in $(pgrep -f "[c]elery -A celery_app worker --loglevel=info$"); do cat /proc/$p/cgroup; done',
  );
  assert.equal(strays.split('\n').length, 6, 'three strays with a child each');
  for (const line of strays.split('\n')) assert.match(line, /\/session-\d+\.scope$/);
  assert.equal(await output(machine, 'swapon --show --noheadings'), '');
  assert.equal(await output(machine, 'cat /proc/sys/vm/swappiness'), '60');
  const database = 'sqlite3 /root/slideshow/backend/batch_processing.db';
  const stuck = await output(
    machine,
    `${database} "SELECT substr(id, 1, 8) FROM jobs WHERE status = 'processing' ORDER BY 1"`,
  );
  assert.equal(stuck, '77cfa3cd\nb49d06f6');
  assert.equal(
    await output(machine, `${database} "SELECT count(*) FROM batches WHERE status = 'processing'"`),
    '4',
  );
  assert.equal(
    await output(
      machine,
      `${database} "SELECT count(*) FROM batch_links WHERE status = 'processing'"`,
    ),
    '12',
  );
  assert.equal(await output(machine, `${database} "PRAGMA foreign_key_check"`), '');
});

await step('state reference-unit, beside another machine', async () => {
  const other = await startMachine({ name: 'smoke-2', state: 'reference-unit' });
  cleanup.defer(() => other.stop());
  assert.notEqual(other.sshPort, machine.sshPort);
  assert.notEqual(await output(other, 'systemctl is-active celery-worker || true'), 'active');
  assert.match(
    await output(other, 'journalctl -u celery-worker -o cat --no-pager'),
    /only one pattern can be provided/,
  );
  assert.equal(await output(machine, 'systemctl is-active celery-worker'), 'active');
  await Promise.all([machine.reset(), other.reset()]);
  assert.equal(await output(other, 'hostname'), await output(machine, 'hostname'));
});

await step('bad input', async () => {
  await assert.rejects(
    machine.breakInto('nowhere'),
    (error) => error instanceof SandboxError && /there are before, healthy/.test(error.message),
  );
  await assert.rejects(startMachine({ name: '../x' }), /machine name/);
});

process.stdout.write(`all of it in ${Math.round((Date.now() - began) / 1000)} s\n`);
