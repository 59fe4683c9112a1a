/**
 * The whole pipeline, watched: a throwaway VPS in the state `before`, the real deploy.yml run by
 * act, and the after. `--keep` leaves the VPS up.
 */
import { createWriteStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Machine, SandboxError, startMachine } from '../sandbox/machine.ts';
import { runWorkflow } from '../test/lib/act.ts';

const root = join(import.meta.dirname, '..');
const say = (line: string): void => console.log(line);

/** What a person would look at over SSH, before and after. */
const looks: readonly (readonly [title: string, command: string])[] = [
  ['swap', "free -h | awk '/Swap/ {print $2}'"],
  ['swappiness', 'cat /proc/sys/vm/swappiness'],
  [
    'unit',
    'systemctl show celery-worker -p ActiveState,SubState,Type,MemoryMax,MemoryHigh,WatchdogUSec,KillMode --value | tr "\\n" " "',
  ],
  ['command', "systemctl cat celery-worker | sed -n 's/^ExecStart=//p'"],
  [
    'processes of the unit',
    'systemctl show -p ControlGroup --value celery-worker | xargs -I{} cat /sys/fs/cgroup{}/cgroup.procs | wc -l',
  ],
  [
    'stray workers',
    "grep -lz '^worker$' /proc/[0-9]*/cmdline 2>/dev/null | while read -r f; do grep -L celery-worker.service ${f%cmdline}cgroup; done 2>/dev/null | wc -l",
  ],
  ...['jobs', 'batches', 'batch_links'].map(
    (table) =>
      [
        table,
        `sqlite3 /root/slideshow/backend/batch_processing.db "select coalesce(group_concat(n || ' ' || status, ', '), 'none') from (select count(*) n, status from ${table} group by status)"`,
      ] as const,
  ),
];

async function show(title: string, machine: Machine): Promise<void> {
  say(`\n${title}`);
  for (const [name, command] of looks) {
    const { stdout, stderr } = await machine.run(command, { allowFailure: true });
    say(`  ${name.padEnd(22)} ${(stdout || stderr).trim().replace(/\s+/g, ' ')}`);
  }
}

async function demo(keep: boolean): Promise<number> {
  say('1. A throwaway VPS, broken the way such servers break');
  const machine = await startMachine({
    name: 'demo',
    state: 'before',
    detached: keep,
    say: (line) => say(`   ${line}`),
  });
  try {
    await show('Before', machine);
    say('\n2. Merge to main: deploy.yml, as it is, run by act\n');
    const folder = join(root, '.sandbox');
    await mkdir(folder, { recursive: true });
    const logPath = join(folder, 'demo.log');
    const log = createWriteStream(logPath);
    const run = await runWorkflow('deploy.yml', 'push', machine, {
      onLine: (line) => {
        log.write(`${line}\n`);
        if (/\S/.test(line)) {
          say(line);
        }
      },
    });
    log.end();
    const summaryPath = join(folder, 'demo-summary.md');
    await writeFile(summaryPath, run.summaries.join('\n'));
    await show('After', machine);
    say(`\n${run.code === 0 ? 'Green' : 'Red'}. The job summary: ${summaryPath}`);
    say(`The whole log: ${logPath}`);
    if (keep) {
      say(
        'The VPS is still up: npm run sandbox -- ssh --name demo; npm run sandbox -- down --name demo',
      );
    }
    return run.code;
  } finally {
    if (!keep) {
      await machine.stop();
    }
  }
}

try {
  process.exitCode = await demo(process.argv.includes('--keep'));
} catch (error) {
  console.error(error instanceof SandboxError ? `demo: ${error.message}` : error);
  process.exitCode = 1;
}
