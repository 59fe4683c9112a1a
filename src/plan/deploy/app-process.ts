import { interpreterOfCommand } from '../../celery/interpreter.ts';
import type { WorkerLine } from '../../celery/worker-line.ts';
import type { DeployWorkerDesired } from '../../config/deploy-worker-desired.ts';
import { ConfigError } from '../../model/errors.ts';
import type { UnitFact } from '../../model/facts.ts';
import type { ByTheApp } from '../../model/operation.ts';
import { isExpanded } from '../../systemd/exec-line.ts';
import { appOf, type WorkerUnit } from '../unit/worker-unit.ts';

export function requireApp(line: WorkerLine, path: string, desired: DeployWorkerDesired): string {
  const app = appOf(line) ?? desired.app;
  if (app !== null) return app;
  const written = line.call.app;
  throw new ConfigError(
    'input unit',
    written === null
      ? `ExecStart= in ${path} does not name the app`
      : `ExecStart= in ${path} names the app by a variable (-A ${written})`,
    '`-A module` with the name of the app itself in ExecStart=',
  );
}

/** What a process of the app's own is started with. */
export function byTheApp(
  unit: WorkerUnit,
  fact: UnitFact,
  app: string,
  desired: DeployWorkerDesired,
): ByTheApp {
  const { workingDirectory } = unit.line.call;
  return {
    unit: desired.unit,
    interpreter: interpreterFor(unit.line, fact),
    app,
    pythonPath: [
      desired.supportDirectory,
      ...(workingDirectory !== null && !isExpanded(workingDirectory) ? [workingDirectory] : []),
    ],
  };
}

/**
 * The Python of the worker. A program whose shebang is no Python, such as pip's trampoline for long
 * paths, has its Python beside it.
 *
 * @throws ConfigError when the program is not there
 */
export function interpreterFor(line: WorkerLine, fact: UnitFact): readonly string[] {
  const { environment, wrapper } = line.call;
  const argv = line.argv.slice(wrapper.length);
  const [program = ''] = argv;
  if (fact.programs[program]?.exists === false) {
    throw new ConfigError(
      'input unit',
      `ExecStart= runs ${program}, which is not on the host`,
      'the path of the celery executable of the app',
    );
  }
  const path = program.startsWith('/') ? program : resolveProgram(program, fact);
  const literal = environment.filter((word) => !isExpanded(word)).map(unescapePercent);
  const env = literal.length > 0 ? ['/usr/bin/env', ...literal] : [];
  const beside = `${path.slice(0, path.lastIndexOf('/'))}/python3`;
  const python = interpreterOfCommand([path, ...argv.slice(1)], fact.programs) ?? [beside];
  return [...env, ...python];
}

const unescapePercent = (text: string): string => text.replaceAll('%%', '%').replaceAll('$$', '$');

/** As systemd finds a bare name; the fact names what it found. */
function resolveProgram(name: string, fact: UnitFact): string {
  const found = Object.entries(fact.programs).find(
    ([path, { exists }]) => exists && path.endsWith(`/${name}`),
  );
  return found?.[0] ?? `/usr/bin/${name}`;
}
