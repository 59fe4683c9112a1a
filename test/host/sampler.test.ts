import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Sample, SampleCursor, SamplesFact } from '../../src/model/sample.ts';
import { seconds } from '../../src/model/units.ts';
import { Hand, META, type PlainOperation } from './lib/hand.ts';
import { startSupportedUnit, supportedUnit } from './lib/units.ts';
import { BACKEND, makeJob, sendJobs, show, UNIT, waitUntil } from './lib/worker.ts';

/** The sampler on a host with a real worker and its real broker, from its release to its end. */

const TIMER = 'celeriac-sampler.timer';
const SERVICE = 'celeriac-sampler.service';
const FILE = `/var/lib/celeriac/samples/${UNIT}.jsonl`;
/** What the worker's unit logs at each start: a status 429, and a traceback. */
const LOGS = `ExecStartPost=/bin/sh -c 'echo "HTTP/1.1 429 Too Many Requests"; echo "Traceback (most recent call last):"; echo "ValueError: 429 rows"'\n`;
let hand: Hand;

beforeAll(async () => {
  hand = await Hand.start('sampler');
  const unit = supportedUnit('celery,links', `Restart=always\n${LOGS}`);
  await startSupportedUnit(hand.machine, `${unit}\n[Install]\nWantedBy=multi-user.target\n`);
  await hand.shell(`systemctl enable -q ${UNIT}`);
});

afterAll(() => hand?.stop());

const soakSeconds = seconds(24 * 3600);
const startSampler: PlainOperation = {
  op: 'start-sampler',
  unit: UNIT,
  paths: ['/', BACKEND],
  soakSeconds,
};
const stopSampler: PlainOperation = { op: 'stop-sampler', unit: UNIT };
const look = async (after: SampleCursor | null = null, unit = UNIT): Promise<SamplesFact> =>
  (await hand.agent.look({ samples: { unit, after } })).samples;
/** By its link, and by systemd. */
const timerState = () =>
  hand.shell(
    `test -L /etc/systemd/system/timers.target.wants/${TIMER} && echo enabled; systemctl is-active ${TIMER} || true`,
  );
/** It asks systemd to stop the timer, and does not wait for it. */
const ended = () =>
  waitUntil('the timer has gone', async () => (await timerState()) === 'inactive');
/** Not at the minute, but now. */
const tick = () => hand.shell(`systemctl start ${SERVICE}`);
let newest: { sample?: Sample; readonly cursor: SampleCursor | null } = { cursor: null };
/** The newest sample: asked for from the last one on. */
async function last(): Promise<Sample> {
  for (let more = true; more; ) {
    const page = await look(newest.cursor);
    newest = { cursor: page.cursor, ...pick(page.samples.at(-1) ?? newest.sample) };
    more = page.more;
  }
  if (newest.sample === undefined) throw new Error('no sample');
  return newest.sample;
}
const pick = (sample: Sample | undefined) => (sample === undefined ? {} : { sample });

/** From now on no sample comes in between; until the next boot, or release. */
const byHand = () => hand.shell(`systemctl stop ${TIMER}`);

/** The next sample of which this is true. */
async function sampled(what: string, isIt: (sample: Sample) => boolean): Promise<Sample> {
  await waitUntil(what, async () => {
    await tick();
    return isIt(await last());
  });
  return last();
}

/** A release that is sampled, and awaits no verdict of a verify. */
async function release(...operations: readonly PlainOperation[]): Promise<string> {
  const meta = { action: 'deploy-worker', unit: UNIT, release: { confirmWithinSeconds: null } };
  const outcome = await hand.apply(operations, meta);
  expect(outcome.result, JSON.stringify(outcome)).toBe('committed');
  return outcome.transaction;
}

let soaked: string;

test('a release arms it, and the first sample comes by itself', async () => {
  expect(await look()).toMatchObject({
    samples: [],
    cursor: null,
    sampling: false,
    soakSeconds: null,
  });
  soaked = await release(startSampler);
  expect(await timerState()).toBe('enabled\nactive');
  await waitUntil('the first sample', async () => (await look()).samples.length > 0);
  const { samples, ...about } = await look();
  expect(about).toMatchObject({ sampling: true, soakSeconds, more: false, restarted: false });
  // Nobody knows yet where the journal was a minute ago.
  expect(samples[0]?.journal).toBeNull();
  await byHand();
});

test('it says what systemd, the kernel and the disk say', async () => {
  await tick();
  const { unit, memory, boot, disk, journal, release: running } = await last();
  expect(running).toBe(1);
  const { MainPID, ...shown } = await show(
    hand.machine,
    ...(['ActiveState', 'SubState', 'Result', 'InvocationID', 'NRestarts', 'MainPID'] as const),
  );
  expect(unit).toEqual({
    active: shown.ActiveState,
    sub: shown.SubState,
    result: shown.Result,
    invocation: shown.InvocationID,
    restarts: Number(shown.NRestarts),
  });
  expect(boot).toBe(await hand.shell('cat /proc/sys/kernel/random/boot_id'));
  // Both move; they are of one size.
  const resident = Number(
    await hand.shell(`awk '/^VmRSS/ { print $2 * 1024 }' /proc/${MainPID}/status`),
  );
  expect((memory?.main ?? 0) / resident).toBeGreaterThan(0.5);
  expect((memory?.main ?? 0) / resident).toBeLessThan(2);
  expect(memory?.children).toBeGreaterThan(0);
  expect(memory?.current).toBeGreaterThan(0);
  // Both paths are on one file system.
  const size = Number(await hand.shell('df -B1 --output=size / | tail -n 1'));
  expect(disk).toMatchObject([{ path: '/', size }]);
  expect(journal).toEqual({ errors: 0, tracebacks: 0, rateLimited: 0, dropped: 0, unread: false });
});

test('the worker itself tells of its queues and tasks', { tags: ['nightly'] }, async () => {
  // By night it may be the only one of this file.
  if (!(await look()).sampling) await release(startSampler);
  await sendJobs(hand.machine, [makeJob(1)]);
  const { worker } = await sampled(
    'the report after the job',
    (sample) => (sample.worker?.processed ?? 0) > 0,
  );
  expect(Object.keys(worker?.queues ?? {}).sort()).toEqual(['celery', 'links']);
});

test('a restart by systemd, and what the unit logs, are in the next one', async () => {
  await tick();
  const before = await last();
  await hand.shell(`systemctl kill -s KILL ${UNIT}`);
  await waitUntil(
    'systemd has restarted the worker',
    async () => (await hand.shell(`systemctl is-active ${UNIT} || true`)) === 'active',
  );
  // What the unit logs comes before systemd calls it active.
  await hand.shell('journalctl --sync');
  const { cursor } = await look();
  await tick();
  const { samples } = await look(cursor);
  expect(samples).toHaveLength(1);
  const [after] = samples;
  expect(after?.unit?.restarts).toBe(1);
  expect(after?.unit?.invocation).not.toBe(before.unit?.invocation);
  expect(after?.journal).toMatchObject({ tracebacks: 1, rateLimited: 1 });
});

test('killed in the middle of a line: the line is a gap, and the file goes on', async () => {
  await hand.shell(
    `for _ in $(seq 10); do systemctl start --no-block ${SERVICE}; systemctl kill -s KILL ${SERVICE} 2>/dev/null || true; done; systemctl stop ${SERVICE}; systemctl reset-failed ${SERVICE} 2>/dev/null || true`,
  );
  // As the kernel leaves it: half a line; and a whole one that a disk damaged.
  await hand.shell(`printf '{"v":1,"at":\\n{"v":1,"at":17' >>${FILE}`);
  const { cursor } = await look();
  await tick();
  const next = await look(cursor);
  expect(next.samples).toHaveLength(1);
  expect(next.samples[0]?.journal).not.toBeNull();
  expect(
    await hand.shell(`tail -c 1 ${FILE} | od -An -c; grep -c '"at":17$' ${FILE} || true`),
  ).toBe('  \\n\n0');
});

test('it goes on after a reboot, in the same file', async () => {
  const before = await look();
  await hand.agent.close();
  await hand.machine.reboot();
  hand = await Hand.open(hand.machine);
  expect(await timerState()).toBe('enabled\nactive');
  await waitUntil('a sample of this boot', async () => {
    const { samples } = await look(before.cursor);
    return samples.length > 0;
  });
  const { restarted, samples } = await look(before.cursor);
  expect(restarted).toBe(false);
  expect(samples[0]?.journal).not.toBeNull();
  await byHand();
});

test('a full file becomes the older one, and no more than two are kept', async () => {
  const fill = `python3 -c 'import sys
path = sys.argv[1]
line = open(path, "rb").readlines()[-1]
open(path, "ab").write(line * (8 * 1024 * 1024 // len(line)))' ${FILE}`;
  for (let round = 0; round < 2; round += 1) {
    await hand.shell(fill);
    await tick();
  }
  const names = `cd /var/lib/celeriac/samples && ls && stat -c %s * | awk '{ all += $1 } END { print (all < 17000000) }'`;
  expect(await hand.shell(names)).toBe(`${UNIT}.jsonl\n${UNIT}.jsonl.1\n1`);
  // Page by page to the last one.
  const newestLine = JSON.parse(await hand.shell(`tail -n 1 ${FILE}`));
  newest = { cursor: null };
  expect((await last()).at).toBe(newestLine.at);
});

/** As the app's user on a host where the app is not root. */
const asApp = (command: string) =>
  hand.machine.run(`runuser -u deploy -- sh -c '${command}'`, { allowFailure: true });

test("the app's user can neither write nor read samples, nor have root write for it", async () => {
  await tick();
  const { cursor } = await look();
  for (const command of [
    `echo x >>${FILE}`,
    `cat ${FILE}`,
    `ls /var/lib/celeriac/samples`,
    `rm ${FILE}`,
  ]) {
    expect((await asApp(command)).code, command).not.toBe(0);
  }
  expect(await hand.shell(`stat -c %a%U ${FILE} /var/lib/celeriac/samples`)).toBe(
    '600root\n700root',
  );
  expect((await look(cursor)).restarted).toBe(false);

  // A folder for metrics that the app can write: root neither follows its link nor writes there.
  await hand.shell(
    'echo untouched >/root/target; install -d -o deploy /srv/metrics; install -d /etc/celeriac; echo /srv/metrics >/etc/celeriac/textfile-collector',
  );
  await asApp('ln -s /root/target /srv/metrics/celeriac.prom');
  await tick();
  expect(await hand.shell('cat /root/target; readlink /srv/metrics/celeriac.prom')).toBe(
    'untouched\n/root/target',
  );
  expect(await hand.shell(`journalctl --sync; journalctl -q -u ${SERVICE} -n 5 -o cat`)).toContain(
    'no metrics: /srv/metrics can be changed by users other than root',
  );
  await hand.shell('chown root /srv/metrics && rm /srv/metrics/celeriac.prom');
  await tick();
  const metrics = await hand.shell(
    'cat /srv/metrics/celeriac.prom; rm /etc/celeriac/textfile-collector',
  );
  expect(metrics).toContain(`celeriac_unit_active{unit="${UNIT}"} 1\n`);
  expect(metrics).toMatch(/^celeriac_memory_current_bytes\{unit="[^"]+"\} \d+$/m);
});

test('whatever a unit of the app tells systemd, root takes numbers of queues from it', async () => {
  const unit = 'hostile.service';
  const says = `import os, socket, time
link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
link.connect(os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1))
report = "at=%d active=3 queues=1 waiting:..%%2f..%%2fetc%%2fshadow=1 file=/etc/shadow waiting:x=y" % time.monotonic()
link.send(("READY=1\\nSTATUS=$(cat /etc/shadow) [" + report + "]").encode())
time.sleep(3600)
`;
  await hand.machine.writeFile('/srv/hostile.py', says);
  await hand.machine.writeFile(
    `/etc/systemd/system/${unit}`,
    '[Service]\nType=notify\nNotifyAccess=main\nUser=deploy\nExecStart=/usr/bin/python3 /srv/hostile.py\n',
  );
  await hand.shell(`systemctl daemon-reload; systemctl start ${unit}`);
  await asApp('ln -s /proc/1/root /home/deploy/link; ln -s loop /home/deploy/loop');
  const paths = ['/home/deploy/link', '/home/deploy/loop', '/proc/1/mem'];
  await hand.commit([{ op: 'start-sampler', unit, paths, soakSeconds }]);
  await tick();
  const { samples } = await look(null, unit);
  expect(samples.at(-1)?.worker).toEqual({
    queues: { '../../etc/shadow': 1 },
    active: 3,
    processed: null,
  });
  await hand.commit([{ op: 'stop-sampler', unit }]);
  await hand.shell(`systemctl stop ${unit}`);
});

test('a failure is told at once, and an answer that never comes keeps the guard from nothing', async () => {
  await hand.machine.writeFile(
    '/srv/hook.py',
    `import http.server, sys
class Hook(http.server.BaseHTTPRequestHandler):
    def log_message(self, *words):
        pass
    def do_POST(self):
        print("told", self.rfile.read(int(self.headers["Content-Length"])).decode(), flush=True)
        if self.path == "/s3cr3t-silent":
            sys.stdin.read()
        self.send_response(204)
        self.end_headers()
http.server.ThreadingHTTPServer(("127.0.0.1", 8099), Hook).serve_forever()
`,
  );
  await hand.shell(
    `mkfifo /run/never; systemd-run -q --unit=hook sh -c 'exec python3 /srv/hook.py <>/run/never'`,
  );
  const url = (path: string) =>
    hand.shell(`umask 077; echo http://127.0.0.1:8099/${path} >/etc/celeriac/webhook`);
  const told = () => hand.shell('journalctl --sync; journalctl -q -u hook -o cat');
  await url('s3cr3t-token');
  await tick();
  await hand.shell(`systemctl kill -s KILL ${UNIT}`);
  await sampled('the restart', ({ unit }) => (unit?.restarts ?? 0) > 0);
  await waitUntil('it is told', async () => (await told()).includes('restarted by systemd'));
  expect(await told()).toMatch(
    new RegExp(`^told .*"unit": ?"${UNIT}", ?"what": ?"restarted by systemd once"`, 'm'),
  );

  await url('s3cr3t-silent');
  const unconfirmed = {
    action: 'deploy-worker',
    unit: UNIT,
    release: { confirmWithinSeconds: seconds(1) },
  };
  const outcome = await hand.apply(
    [{ op: 'write-file', path: '/srv/unconfirmed', text: 'x\n', mode: '0644', expects: null }],
    unconfirmed,
  );
  expect(outcome.result).toBe('committed');
  await waitUntil(
    'it is rolled back',
    async () => (await hand.shell('test -e /srv/unconfirmed || echo gone')) === 'gone',
  );
  await waitUntil('it is told that nobody answers', async () =>
    (await hand.shell("journalctl --sync; journalctl -q -u 'celeriac-webhook-*' -o cat")).includes(
      'the webhook was not told: no answer within 10',
    ),
  );
  expect(await told()).toContain('was rolled back by the host itself');
  expect(await hand.shell('systemctl is-active celeriac-guard.timer || true')).toBe('inactive');
  // The URL is a secret: only the file has it.
  expect(
    await hand.shell('journalctl -q -o cat | grep -c s3cr3t || true; rm /etc/celeriac/webhook'),
  ).toBe('0');
});

test('it ends when the release is proven; its samples stay', async () => {
  const why = 'a day without failure';
  const proof = { unit: UNIT, transaction: soaked, verdict: 'proven', why, figures: {} } as const;
  expect(await hand.agent.prove(proof, META)).toBe(true);
  await ended();
  expect((await look()).sampling).toBe(false);
  const lines = () => hand.shell(`wc -l <${FILE}`);
  const before = await lines();
  await tick();
  expect(await lines()).toBe(before);
});

test('it ends with an undo, or with a release that is not soaked, and goes on after its undo', async () => {
  const one = await release(startSampler);
  expect(await timerState()).toBe('enabled\nactive');
  const two = await release(stopSampler);
  await ended();
  await hand.undo(two);
  expect(await timerState()).toBe('enabled\nactive');
  await hand.undo(one);
  await ended();
  expect(await hand.shell('ls /var/lib/celeriac/sampled')).toBe('');
});
