import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { hostEdition, type Suite } from '../../../sandbox/edition.ts';
import { seconds } from '../../../src/model/units.ts';
import { Hand, messages, type PlainOperation } from '../lib/hand.ts';

/** Programs on the app's files, Git and pip, run code of the app's user: filters and builds. */

const UNIT = 'app.service';
const DEFINITION = `[Service]
User=deploy
Slice=shop.slice
RestrictAddressFamilies=AF_UNIX
MemoryMax=64M
TasksMax=1300
ExecStart=/bin/true
`;
const CHECKOUT = '/srv/app/code';
const SEEN = '/var/tmp/greedy';

/** The sandbox's own Debian in each run; older and newer systemd every night. */
const HOSTS: readonly (readonly [Suite | null, readonly string[]])[] = [
  [null, []],
  ['bullseye', ['nightly']],
  ['trixie', ['nightly']],
];

for (const [suite, tags] of HOSTS) {
  describe(`programs on ${suite ?? 'the usual host'}`, { tags: [...tags] }, () => {
    let hand: Hand;
    let first: string;
    let second: string;

    beforeAll(async () => {
      const edition = suite === null ? {} : { edition: hostEdition(suite) };
      hand = await Hand.start(`attack-builds-${suite ?? 'own'}`, edition);
      const attack = readFileSync(new URL('lib/greedy.py', import.meta.url), 'utf8');
      await hand.machine.writeFile('/srv/greedy.py', attack);
      await hand.machine.writeFile(`/etc/systemd/system/${UNIT}`, DEFINITION);
      await hand.machine.writeFile(
        '/srv/python',
        `#!/bin/sh
    case $* in
      *metadata*) echo '{"pip": "1"}' ;;
      *prefix*) echo '["/srv/app/venv", "/usr", "/srv/app/venv/bin/python"]' ;;
      *install*) python3 /srv/greedy.py pip ;;
    esac
    `,
        '0755',
      );
      await hand.shell(`
        systemctl daemon-reload
        mkdir -p /srv/app/venv/bin ${CHECKOUT} ${SEEN}
        cp /srv/python /srv/app/venv/bin/python
        touch /srv/app/venv/pyvenv.cfg ${CHECKOUT}/requirements.txt
        chown -R deploy: /srv/app ${SEEN}`);
      const commit = (text: string) =>
        `echo '${text}' >app.py; git add --all; git -c user.name=t -c user.email=t@localhost commit -q -m '${text}'; git rev-parse HEAD`;
      const made = `
        cd ${CHECKOUT}
        git init -q
        echo '*.py filter=greedy' >.gitattributes
        ${commit('first')}
        ${commit('second')}
        git config filter.greedy.smudge 'python3 /srv/greedy.py git; cat'
        git config filter.greedy.clean cat`;
      await hand.machine.writeFile('/srv/make.sh', made);
      const told = await hand.shell('runuser -u deploy -- sh -e /srv/make.sh');
      [first = '', second = ''] = told.split('\n').slice(-2);
    });

    beforeEach(() => {
      hand.progress.length = 0;
    });

    afterAll(() => hand?.stop());

    const seen = async (name: string): Promise<Record<string, unknown>> =>
      JSON.parse(await hand.shell(`cat ${SEEN}/${name}`));
    const left = () => hand.shell('pgrep -u deploy -f "sleep 4711|greedy" || true');
    /** The outcome is told before the process that carried the work out, and its keeper, have ended. */
    const keepers = () =>
      hand.shell(
        `for try in $(seq 300); do
           found=$(systemctl list-units --all --no-legend 'celeriac-keeper-*')
           [ -z "$found" ] && exit
           sleep 0.1
         done
         echo "$found"`,
      );

    /** From one commit to the other; each runs the filter. */
    async function move(): Promise<PlainOperation> {
      const head = await hand.shell(`runuser -u deploy -- git -C ${CHECKOUT} rev-parse HEAD`);
      const commit = head === first ? second : first;
      return {
        op: 'checkout-code',
        user: 'deploy',
        checkout: CHECKOUT,
        commit,
        expects: head,
        stash: false,
      };
    }

    const install: PlainOperation = {
      op: 'install-dependencies',
      user: 'deploy',
      unit: UNIT,
      interpreter: ['/srv/app/venv/bin/python'],
      tool: 'pip',
      file: 'requirements.txt',
      commit: '0'.repeat(40),
      lock: '/srv/app/venv/bin/python',
      timeoutSeconds: seconds(60),
      release: CHECKOUT,
    };

    const bounded = {
      noNewPrivileges: '1',
      capabilities: 0,
      gained: '',
      files: [],
    };

    /** As systemd shows them of the service that a program has run in; asked while it is there. */
    const properties = (service: unknown) =>
      hand.shell(`systemctl show -p Slice,MemoryMax,TasksMax,NoNewPrivileges '${service}' | sort`);

    test('a Git filter gains nothing, has the network of the unit, and leaves nothing', async () => {
      const outcome = await hand.apply([await move()], { unit: UNIT });
      expect(outcome.result, JSON.stringify(outcome)).toBe('committed');
      const found = await seen('git');
      expect(found).toMatchObject({
        ...bounded,
        service: expect.stringMatching(/^celeriac-keeper-/),
        network: expect.stringContaining('refused'),
      });
      expect(JSON.stringify(found.variables)).not.toMatch(/SUDO|SSH|CELERIAC/);
      expect(hand.notes.join('\n')).toMatch(/git: ended \d+ processes that it had left running/);
      expect(await left()).toBe('');
      expect(await keepers()).toBe('');
    });

    test('a build reaches the network, gains nothing else, and leaves nothing', async () => {
      const outcome = await hand.apply([install], { unit: UNIT });
      expect(outcome.result, JSON.stringify(outcome)).toBe('committed');
      expect(await seen('pip')).toMatchObject({ ...bounded, network: 'listens' });
      expect(await left()).toBe('');
      expect(await keepers()).toBe('');
    });

    test('where systemd starts no service, the work is done all the same, and people are told', async () => {
      await hand.shell(
        `printf '#!/bin/sh\\ncase $* in *celeriac-keeper*) echo "Failed to start transient service unit" >&2; exit 1 ;; esac\\nexec /usr/bin/systemd-run.real "$@"\\n' >/run/refusing
         chmod 755 /run/refusing
         mv /usr/bin/systemd-run /usr/bin/systemd-run.real
         cp /run/refusing /usr/bin/systemd-run`,
      );
      try {
        const outcome = await hand.apply([await move()], { unit: UNIT });
        expect(outcome.result, messages(outcome).join('\n')).toBe('committed');
        expect(await seen('git')).toMatchObject({ noNewPrivileges: '1', gained: '' });
        const notes = hand.notes.filter((each) => each.includes('control group'));
        expect(notes).toHaveLength(1);
        expect(notes[0]).toContain('Failed to start transient service unit');
        expect(await left()).toBe('');
      } finally {
        await hand.shell('mv /usr/bin/systemd-run.real /usr/bin/systemd-run');
      }
    });

    test('its service is in the slice of the unit, with limits; it ends with Celeriac', async () => {
      await hand.shell(`touch ${SEEN}/wait; rm -f ${SEEN}/git`);
      const running = hand.apply([await move()], { unit: UNIT }).catch(() => null);
      await hand.shell(
        `for try in $(seq 600); do pgrep -u deploy -f 'sleep 4711' && exit; sleep 0.1; done; exit 1`,
      );
      const { service } = await seen('git');
      const total = Number(await hand.shell(`awk '/^MemTotal/ { print $2 }' /proc/meminfo`));
      expect(await properties(service)).toBe(
        [
          `MemoryMax=${Math.floor((total * 1024) / 8) * 7}`,
          'NoNewPrivileges=yes',
          'Slice=shop.slice',
          'TasksMax=1300',
        ].join('\n'),
      );
      await hand.shell(`rm ${SEEN}/wait; systemctl kill --signal=KILL 'celeriac-2*.scope'`);
      await hand.shell(
        `for try in $(seq 600); do pgrep -u deploy -f 'sleep 4711' || exit 0; sleep 0.1; done; exit 1`,
      );
      expect(await keepers()).toBe('');
      await running;
    });
  });
}
