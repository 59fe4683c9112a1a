import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { chooseAccelerator } from './accelerator.ts';
import { kindFor } from './capacity.ts';
import { messageOf, SandboxError } from './failure.ts';
import { openImage, provideImage } from './image.ts';
import { findInstance, type Kind, listInstances, removeInstance, targetOf } from './instance.ts';
import { provideLayers } from './layer.ts';
import { type Machine, openMachine, startMachine } from './machine.ts';
import { provideMoment } from './moment.ts';
import { sshArguments } from './ssh.ts';
import { listStates, readState } from './states.ts';

const USAGE = `A throwaway VPS: a Debian 12 host with Redis, Celery and a small app, on loopback.

  sandbox up [--name N] [--state S] [--kind K]
                                       start it, healthy or in a broken state; a container (fast) if
                                       possible, or --kind vm: with its own kernel and swap
  sandbox ssh [--name N] [--user U] [-- command…]
                                       log in as root, deploy (sudo -n) or nosudo
  sandbox reset [--name N]             discard all changes: as 'up' started it
  sandbox break STATE [--name N]       break the running host: ${listStates().join(', ')}
  sandbox status                       list running machines
  sandbox down [--name N | --all]      stop and remove it
  sandbox build [--all]                build the image and the snapshot; --all: of every state too
`;

const say = (line: string) => process.stderr.write(`sandbox: ${line}\n`);

async function main(args: string[]): Promise<number> {
  const split = args.indexOf('--');
  const { values, positionals } = parseArgs({
    args: split < 0 ? args : args.slice(0, split),
    allowPositionals: true,
    options: {
      name: { type: 'string', default: 'default' },
      state: { type: 'string' },
      kind: { type: 'string' },
      user: { type: 'string', default: 'root' },
      all: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const rest = split < 0 ? [] : args.slice(split + 1);
  const [command, ...words] = positionals;
  if (values.help || command === undefined) {
    process.stdout.write(USAGE);
    return values.help ? 0 : 2;
  }
  if (words.length > (command === 'break' ? 1 : 0)) {
    throw new SandboxError(`${command}: unexpected argument '${words.at(-1)}'; see --help`);
  }
  switch (command) {
    case 'up':
      return await up(values.name, values.state, readKind(values.kind));
    case 'ssh':
      return logIn(values.name, values.user, rest);
    case 'reset':
      await (await openMachine(values.name)).reset();
      say(`'${values.name}' was reset`);
      return 0;
    case 'break':
      return await breakMachine(values.name, words[0]);
    case 'status':
      return showStatus();
    case 'down':
      return await down(values.all ? listInstances() : [values.name]);
    case 'build':
      return await build(values.all);
    default:
      throw new SandboxError(`unknown command '${command}'; see --help`);
  }
}

function readKind(word: string | undefined): Kind | undefined {
  if (word === undefined || word === 'container' || word === 'vm') return word;
  throw new SandboxError(`--kind ${word}: expected 'container' or 'vm'`);
}

async function up(
  name: string,
  state: string | undefined,
  kind: Kind | undefined,
): Promise<number> {
  if (state !== undefined) readState(state);
  const running = findInstance(name);
  if (
    running !== undefined &&
    running.state === state &&
    [undefined, running.kind].includes(kind)
  ) {
    say(`'${name}' is already up; 'reset' discards its changes`);
    describe(await openMachine(name));
    return 0;
  }
  const options = {
    ...(state === undefined ? {} : { state }),
    ...(kind === undefined ? {} : { kind }),
  };
  describe(await startMachine({ name, detached: true, say, ...options }));
  return 0;
}

function describe(machine: Machine): void {
  process.stdout.write(
    [
      `${machine.name}: a ${machine.kind} is up${machine.state === undefined ? '' : `, in state '${machine.state}'`}`,
      `  ssh          ${machine.host}:${machine.sshPort}, users root, deploy (sudo -n), nosudo`,
      `  web          http://${machine.host}:${machine.httpPort}/api/health`,
      `  key          ${machine.keyPath}`,
      `  known_hosts  ${machine.knownHostsPath}`,
      `  console      ${machine.consolePath}`,
      `  log in       ssh -i ${machine.keyPath} -o UserKnownHostsFile=${machine.knownHostsPath} ` +
        `-p ${machine.sshPort} root@${machine.host}`,
      '',
    ].join('\n'),
  );
}

function logIn(name: string, user: string, command: string[]): number {
  const instance = findInstance(name);
  if (instance === undefined) throw new SandboxError(notUp(name));
  const target = targetOf(openImage(instance.imageFolder), instance);
  const args = sshArguments(target, user, 'own');
  const rest = command.length === 0 ? [] : ['--', ...command];
  const { status, error } = spawnSync('ssh', [...args, ...rest], { stdio: 'inherit' });
  if (error) throw new SandboxError(`ssh: ${error.message}`);
  return status ?? 255;
}

async function breakMachine(name: string, state: string | undefined): Promise<number> {
  readState(state ?? '');
  await (await openMachine(name)).breakInto(state ?? '');
  say(`'${name}' is now in state '${state}'`);
  return 0;
}

function showStatus(): number {
  const lines = listInstances().map((name) => {
    const instance = findInstance(name);
    if (instance === undefined) return `${name}: left over from an earlier run; 'down' removes it`;
    const { kind, host, sshPort, httpPort, state, pid } = instance;
    return (
      `${name}: ${kind}, ${state ?? 'clean'}, ssh ${host}:${sshPort}, web ${host}:${httpPort}, ` +
      `process ${pid}`
    );
  });
  process.stdout.write(`${lines.length === 0 ? 'nothing is up' : lines.join('\n')}\n`);
  return 0;
}

async function down(names: string[]): Promise<number> {
  if (names.length === 1 && !listInstances().includes(names[0] ?? '')) {
    throw new SandboxError(notUp(names[0] ?? ''));
  }
  for (const name of names) {
    await removeInstance(name);
    say(`'${name}' is down`);
  }
  return 0;
}

async function build(all: boolean): Promise<number> {
  const image = await provideImage(say);
  const kind = await kindFor([], undefined, say);
  const accelerator = await chooseAccelerator();
  for (const state of [undefined, ...(all ? listStates() : [])]) {
    if (kind === 'container') await provideLayers(image, state, say);
    await provideMoment(image, accelerator, state, say);
  }
  say(`the image is ${image.folder} (VMs: ${accelerator}, containers: ${kind === 'container'})`);
  return 0;
}

function notUp(name: string): string {
  return `no machine '${name}' is up: start it with 'up --name ${name}'`;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const known =
    error instanceof SandboxError || (error as { code?: string }).code?.startsWith('ERR_PARSE');
  if (!known) throw error;
  process.stderr.write(`sandbox: ${messageOf(error)}\n`);
  process.exitCode = 1;
}
