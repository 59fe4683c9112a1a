import { spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ForkServer } from '../../lib/fork-server.ts';
import { makeTemporaryFolder } from '../../lib/temporary.ts';

/** Of no worker that this machine may run. */
const name = `module_${randomUUID().replaceAll('-', '')}`;

const driver = join(import.meta.dirname, 'drive_transactions.py');

const digestOf = (path: string): string | null =>
  existsSync(path) ? createHash('sha256').update(readFileSync(path)).digest('hex') : null;

const writing = (path: string, text: string) => ({
  op: 'write-file',
  path,
  text,
  mode: '0644',
  expects: digestOf(path),
});

/** What systemd reads units from, a module, and the state of the host program: all in one folder. */
class Host {
  readonly root = makeTemporaryFolder();
  readonly folder = join(this.root, 'celeriac');
  readonly module = join(this.folder, `${name}.py`);

  /** Writes a unit file, a drop-in, or what they name; `FOLDER` and `NAME` are those of the module. */
  write(path: string, text: string): void {
    const whole = join(this.root, path);
    mkdirSync(dirname(whole), { recursive: true });
    const known = { FOLDER: this.folder, NAME: name, ROOT: this.root };
    const filled = Object.entries(known).reduce(
      (sofar, [word, value]) => sofar.replaceAll(word, value),
      text,
    );
    writeFileSync(whole, filled);
  }

  link(path: string, target: string): void {
    symlinkSync(target, join(this.root, path));
  }

  remove(path: string): void {
    rmSync(join(this.root, path));
  }

  /** As pruning does. */
  forget(id: string): void {
    const ident = `20260101T000000-${createHash('sha256').update(id).digest('hex').slice(0, 4)}`;
    this.remove(`state/transactions/${ident}/plan.json`);
  }

  /** Who names the module, but for a unit. */
  find(unit: string | null = null): unknown {
    return this.#drive({ call: 'find', path: this.module, unit });
  }

  /** The transaction of a unit that writes the module. */
  apply(id: string, unit: string, text: string, { released = true } = {}): void {
    const before = existsSync(this.module) ? readFileSync(this.module, 'utf8') : null;
    const writes = {
      op: 'write-file',
      path: this.module,
      text,
      mode: '0644',
      expects: before === null ? null : createHash('sha256').update(before).digest('hex'),
    };
    this.#carryOut(id, unit, [writes], released);
  }

  /** The release of a unit that finds the module as it wants it. */
  release(id: string, unit: string): void {
    const code = { op: 'write-file', path: join(this.root, id), text: id, mode: '0644' };
    this.#carryOut(id, unit, [{ ...code, expects: null }], true);
  }

  /** Where a version of the module is. */
  versionOf(text: string): string {
    const digest = createHash('sha256').update(text).digest('hex');
    return join(this.folder, digest.slice(0, 12), `${name}.py`);
  }

  /** The transaction of a unit that brings a version of the module, and has the unit load it. */
  deploy(id: string, unit: string, version: string): void {
    const path = join(this.root, 'etc', unit);
    const text = `[Service]\nEnvironment=PYTHONPATH=${dirname(this.versionOf(version))}\nExecStart=/usr/bin/celery -A app worker -I ${name}\n`;
    if (!existsSync(path)) this.write(`etc/${unit}`, '[Service]\nExecStart=/usr/bin/celery\n');
    const module = this.versionOf(version);
    const brings = existsSync(module) ? [] : [writing(module, version)];
    this.#carryOut(id, unit, [...brings, writing(path, text)], true);
  }

  /** The transaction of a unit that brings the version, which its file names already. */
  bring(id: string, unit: string, version: string): void {
    this.#carryOut(id, unit, [writing(this.versionOf(version), version)], true);
  }

  undo(...ids: readonly string[]): unknown {
    return this.#drive({ call: 'undo', ids });
  }

  /** As the guard does it, which asks nobody. */
  undoByItself(...ids: readonly string[]): unknown {
    return this.#drive({ call: 'undo', ids, forced: true });
  }

  get text(): string | null {
    return existsSync(this.module) ? readFileSync(this.module, 'utf8') : null;
  }

  #carryOut(id: string, unit: string, operations: readonly object[], released: boolean): void {
    const release = released ? { release: { confirmWithinSeconds: null } } : {};
    const meta = { action: 'deploy-worker', holder: 'test', unit, ...release };
    expect(this.#drive({ call: 'apply', id, meta, operations })).toBe('committed');
  }

  #drive(ask: object): unknown {
    const state = join(this.root, 'state');
    mkdirSync(state, { recursive: true });
    const folders = ['etc', 'run', 'lib', 'none'].map((name) => join(this.root, name));
    return ForkServer.of(driver).ask({ state, folders, ...ask });
  }
}

const mine = 'worker.service';
const theirs = 'video.service';

/** As deploy-worker leaves a unit. */
const worker = `[Service]
Environment=PYTHONPATH=FOLDER
ExecStart=/usr/bin/celery -A app worker -I NAME
`;

describe('which units load a module', () => {
  const named: Readonly<Record<string, string>> = {
    'its folder in PYTHONPATH': 'Environment="LANG=C" "PYTHONPATH=/srv/lib:FOLDER/:/opt"',
    'its name behind -I': 'ExecStart=/usr/bin/celery -A app worker -I other,NAME',
    'its name joined to -I': 'ExecStart=/usr/bin/celery -A app worker -INAME -c 1',
    'its name in --include': 'ExecStart=/usr/bin/celery worker --include=NAME',
    'its own path': 'ExecStartPre=/usr/bin/python3 FOLDER/NAME.py',
    'a line that goes on': 'ExecStart=/usr/bin/celery worker \\\n# aside\n  -I NAME',
    'a shell': `ExecStart=/bin/sh -c 'PYTHONPATH=FOLDER exec celery worker'`,
    'its folder as the directory': 'WorkingDirectory=FOLDER',
  };
  test.each(Object.entries(named))('%s', (_, line) => {
    const host = new Host();
    host.write('etc/video.service', `[Service]\n${line}\n`);
    expect(host.find()).toEqual([theirs]);
  });

  const unnamed: Readonly<Record<string, string>> = {
    'a comment': '# Environment=PYTHONPATH=FOLDER',
    'another folder': 'Environment=PYTHONPATH=/srv/FOLDER:FOLDER-old:FOLDER/deep:FOLDER.d',
    'another module': 'ExecStart=/usr/bin/celery worker -I my.NAME,NAME2',
    'a word for people': 'Description=Has no NAME of FOLDER',
  };
  test.each(Object.entries(unnamed))('%s does not', (_, line) => {
    const host = new Host();
    host.write('etc/video.service', `[Service]\n${line}\n`);
    expect(host.find()).toEqual([]);
  });

  test('in every folder, in drop-ins, in files of EnvironmentFile=', () => {
    const host = new Host();
    host.write('lib/packaged.service', worker);
    host.write('run/transient.service', worker);
    host.write('etc/plain.service', '[Service]\nExecStart=/usr/bin/celery -A app worker\n');
    host.write('run/plain.service.d/celeriac.conf', worker);
    host.write('etc/celery@.service.d/other.conf', '[Service]\nType=notify\n');
    host.write('etc/celery@one.service.d/celeriac.conf', worker);
    host.write('etc/by-file.service', '[Service]\nEnvironmentFile=-ROOT/default/celery-%i\n');
    host.write('default/celery-one', '# PYTHONPATH=/none\nPYTHONPATH="FOLDER"\n');
    host.write('etc/service.d/all.conf', '[Service]\nEnvironment=PYTHONPATH=FOLDER\n');
    host.write('etc/some.socket', worker);
    host.write('etc/video.service.d/note.txt', worker);
    host.link('etc/masked.service', '/dev/null');
    host.link('etc/gone.service', '/no/such/file');
    expect(host.find()).toEqual([
      'by-file.service',
      'celery@one.service',
      'every service',
      'packaged.service',
      'plain.service',
      'transient.service',
    ]);
  });

  test('the unit itself, its aliases and its drop-ins do not count', () => {
    const host = new Host();
    host.write('etc/worker.service', worker);
    host.write('run/worker.service.d/celeriac.conf', worker);
    host.link('etc/alias.service', 'worker.service');
    host.write('etc/alias.service.d/more.conf', worker);
    expect(host.find()).toEqual([mine]);
    expect(host.find(mine)).toEqual([]);
    expect(host.find('alias.service')).toEqual([]);
    expect(host.find(theirs)).toEqual([mine]);
  });
});

test('any running Python with the name counts; no other program does', {
  timeout: 120_000,
}, async () => {
  const host = new Host();
  host.write('celery', 'import time\ntime.sleep(600)\n');
  const script = join(host.root, 'celery');
  const isPython = /^(?:[^\0]*\/)?python[0-9.]*\0[^\0]*\/celery\0/;
  for (const [program, words, PYTHONPATH, runs, count] of [
    ['python3', [script, 'worker', '-I', name], '', isPython, 1],
    ['python3', [script, 'worker'], `/srv:${host.folder}`, isPython, 1],
    ['python3', [script, 'worker'], '/srv', isPython, 0],
    ['tail', ['-f', '/dev/null', '--', '-I', name], `/srv:${host.folder}`, /^tail\0/, 0],
  ] as const) {
    const environment = { ...process.env, PYTHONPATH };
    const options = { env: environment, stdio: 'ignore' } as const;
    const child = spawn(program, words, options);
    await once(child, 'spawn');
    try {
      // It may not have become Python yet: `python3` may be a script that starts it.
      const line = () => readFileSync(`/proc/${child.pid}/cmdline`, 'utf8');
      await expect.poll(line, { timeout: 60_000 }).toMatch(runs);
      expect(host.find()).toHaveLength(count);
    } finally {
      child.kill('SIGKILL');
    }
  }
});

describe('an undo of the release that added it', () => {
  test('removes it if no other unit loads it', () => {
    const host = new Host();
    host.apply('1', mine, 'one');
    host.write('etc/worker.service', worker);
    expect(host.undo('1')).toMatchObject({
      results: ['undone'],
      messages: [`${host.module} removed again`],
    });
    expect(existsSync(host.folder)).toBe(false);
  });

  test.each(['undo', 'undoByItself'] as const)(
    'keeps it for other units, and reports so (%s)',
    (undo) => {
      const host = new Host();
      host.apply('1', mine, 'one');
      host.write('etc/worker.service', worker);
      host.write('etc/audio.service', worker);
      host.write('etc/video.service', worker);
      expect(host[undo]('1')).toEqual({
        results: ['undone'],
        messages: [`${host.module} not restored: audio.service and video.service load it`],
        notes: [],
      });
      expect(host.text).toBe('one');
    },
  );

  test('keeps it if another unit has replaced it since', () => {
    const host = new Host();
    host.apply('1', mine, 'one');
    host.apply('2', theirs, 'two');
    host.write('etc/video.service', worker);
    expect(host.undo('1')).toMatchObject({ results: ['undone'] });
    expect(host.text).toBe('two');
  });

  test('refuses a manual change if no other unit loads it', () => {
    const host = new Host();
    host.apply('1', mine, 'one');
    writeFileSync(host.module, 'by hand');
    expect(host.undo('1')).toEqual({
      refused: expect.stringMatching(/^transaction \S+ not undone: (.+) changed since$/),
    });
    expect(JSON.stringify(host.undo('1'))).toContain(host.module);
    expect(host.text).toBe('by hand');
  });

  test('the last unit that loads it removes it', () => {
    const host = new Host();
    host.apply('1', mine, 'one');
    host.release('2', theirs);
    host.write('etc/video.service', worker);
    host.release('3', 'audio.service');
    host.write('etc/audio.service', worker);
    host.undo('1');
    host.remove('etc/video.service');
    expect(host.undo('2')).toMatchObject({ notes: [] });
    expect(host.text).toBe('one');
    host.remove('etc/audio.service');
    expect(host.undo('3')).toMatchObject({
      notes: [`${host.module} removed again: no unit loads it any more`],
    });
    expect(existsSync(host.folder)).toBe(false);
  });

  test('keeps a module that was kept for others and has been replaced since', () => {
    const host = new Host();
    host.apply('1', mine, 'one');
    host.release('2', theirs);
    host.write('etc/video.service', worker);
    host.undo('1');
    host.remove('etc/video.service');
    writeFileSync(host.module, 'by hand');
    expect(host.undo('2')).toMatchObject({ results: ['undone'], notes: [] });
    expect(host.text).toBe('by hand');
  });
});

describe('an undo of a release that replaced an older version', () => {
  /** Both units were released with the older one. */
  function withOlder(): Host {
    const host = new Host();
    host.apply('1', mine, 'older');
    host.release('2', theirs);
    host.write('etc/worker.service', worker);
    host.write('etc/video.service', worker);
    return host;
  }

  test('restores the older one for units that ran with it', () => {
    const host = withOlder();
    const { mtimeMs } = statSync(host.module);
    host.apply('3', mine, 'newer');
    expect(host.undo('3')).toMatchObject({ messages: [`${host.module} restored`] });
    expect([host.text, statSync(host.module).mtimeMs]).toEqual(['older', mtimeMs]);
  });

  const since: Readonly<Record<string, (host: Host) => void>> = {
    'was released': (host) => host.release('4', theirs),
    'was changed': (host) => host.write('etc/video.service.d/celeriac.conf', worker),
  };
  test.each(Object.entries(since))('keeps the newer one for a unit that %s since', (_, change) => {
    const host = withOlder();
    host.apply('3', mine, 'newer');
    change(host);
    expect(host.undo('3')).toMatchObject({
      results: ['undone'],
      messages: [`${host.module} not restored: video.service loads it`],
    });
    expect(host.text).toBe('newer');
    // Whatever its first release was undone for as well.
    expect(host.undo('1')).toMatchObject({ results: ['undone'] });
    expect(host.text).toBe('newer');
  });

  test('restores the older one if the other release was rolled back', () => {
    const host = withOlder();
    host.apply('3', mine, 'newer');
    host.release('4', theirs);
    host.undo('4');
    host.undo('3');
    expect(host.text).toBe('older');
  });

  test('restores it if its own deploy fails, because no unit needs the newer one', () => {
    const host = withOlder();
    host.apply('3', mine, 'newer', { released: false });
    expect(host.undoByItself('3')).toMatchObject({ messages: [`${host.module} restored`] });
    expect(host.text).toBe('older');
  });
});

describe('versions of a module, each in a folder of its own', () => {
  function deploy(host: Host, id: string, unit: string, version: string): void {
    host.deploy(id, unit, version);
  }
  const [video, audio] = ['video.service', 'audio.service'];

  test.each([
    ['in turn', ['2', '1']],
    ['the other way round', ['1', '2']],
  ])('two units with one version, undone %s: the last one takes it along', (_, order) => {
    const host = new Host();
    deploy(host, '1', video, 'one');
    deploy(host, '2', audio, 'one');
    const module = host.versionOf('one');
    host.undo(order[0] ?? '');
    expect(existsSync(module)).toBe(true);
    host.undo(order[1] ?? '');
    expect([existsSync(module), existsSync(dirname(module))]).toEqual([false, false]);
  });

  test('two units with two versions: each undo touches its own', () => {
    const host = new Host();
    deploy(host, '1', video, 'one');
    deploy(host, '2', audio, 'two');
    expect(host.undo('1')).toMatchObject({ results: ['undone'], notes: [] });
    expect([existsSync(host.versionOf('one')), existsSync(host.versionOf('two'))]).toEqual([
      false,
      true,
    ]);
  });

  test('a version stays while a rollback can return to it, and goes afterwards', () => {
    const host = new Host();
    deploy(host, '1', video, 'one');
    deploy(host, '2', audio, 'one');
    deploy(host, '3', audio, 'two');
    const one = host.versionOf('one');
    expect(host.undo('1')).toMatchObject({
      messages: [`${one} not restored: audio.service may be rolled back to it`, expect.any(String)],
    });
    expect(host.undo('3')).toMatchObject({ results: ['undone'] });
    expect([existsSync(one), existsSync(host.versionOf('two'))]).toEqual([true, false]);
    expect(host.undo('2')).toMatchObject({ notes: [`${one} removed: no unit loads it any more`] });
    expect(existsSync(one)).toBe(false);
  });

  test('an undo that leaves its own unit with the version keeps it', () => {
    const host = new Host();
    deploy(host, '1', video, 'one');
    rmSync(host.versionOf('one'));
    host.bring('2', video, 'one');
    expect(host.undo('2')).toMatchObject({
      messages: [`${host.versionOf('one')} not restored: video.service loads it`],
    });
  });

  test('what nothing needs is removed by the deploy that brings another version', () => {
    const host = new Host();
    deploy(host, '1', video, 'one');
    host.forget('1');
    deploy(host, '2', video, 'two');
    // The rollback of 2 returns to it.
    expect(existsSync(host.versionOf('one'))).toBe(true);
    host.forget('2');
    deploy(host, '3', video, 'three');
    expect([existsSync(host.versionOf('one')), existsSync(host.versionOf('two'))]).toEqual([
      false,
      true,
    ]);
  });

  test('a version that somebody changed is left', () => {
    const host = new Host();
    deploy(host, '1', video, 'one');
    deploy(host, '2', audio, 'two');
    writeFileSync(host.versionOf('one'), 'by hand');
    expect(host.undo('1')).toMatchObject({ refused: expect.stringContaining('changed since') });
    host.undo('2');
    expect(readFileSync(host.versionOf('one'), 'utf8')).toBe('by hand');
  });

  test('the one module of older versions of Celeriac goes once all units have moved', () => {
    const host = new Host();
    host.write('etc/video.service', worker);
    host.write('etc/audio.service', worker);
    host.apply('1', video, 'old');
    deploy(host, '2', video, 'one');
    expect(host.text).toBe('old');
    deploy(host, '3', audio, 'one');
    // Both may be rolled back to it.
    expect(host.text).toBe('old');
    host.forget('2');
    host.forget('3');
    deploy(host, '4', audio, 'two');
    expect(host.text).toBe(null);
  });
});
