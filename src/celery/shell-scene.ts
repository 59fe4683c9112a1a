/**
 * What a worker finds when it starts: its directory, its variables and its search path, after the
 * commands that a shell runs before it. Nothing is run: what a command does is known, or not.
 */

/**
 * In the values, `$HOME` and `$PATH` stand for what only the host knows; any other `$` or `%` is
 * something that the unit does not show.
 */
export interface Scene {
  readonly directory: string;
  readonly variables: ReadonlyMap<string, string>;
  readonly path: readonly string[];
  /** The command that hides the rest of the search path; `null`: none does. */
  readonly hiddenBy: string | null;
}

/** Replaces variables by their values; those without a known value stay, as `${NAME}`. */
export function expandIn(scene: Pick<Scene, 'variables'>, text: string): string {
  return text
    .replace(/^~(?=\/|$)/, '$HOME')
    .replace(/%([%h])/g, (whole, specifier: string) => (specifier === 'h' ? managersHome : whole))
    .replace(
      /\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))/g,
      (_, braced: string | undefined, bare: string | undefined) => {
        const name = braced ?? bare ?? '';
        const known = scene.variables.get(name);
        if (known !== undefined) return known;
        return name === 'HOME' || name === 'PATH' ? `$${name}` : `\${${name}}`;
      },
    );
}

/** `%h` is the home of the service manager, not that of `User=`. */
const managersHome = '/root';

/** `$HOME` at the beginning of a path replaced by the home of the unit's user, if that is known. */
export const atHome = (path: string, home: string | null | undefined): string =>
  home == null ? path : path.replace(/^\$HOME(?=\/|$)/, home.replace(/\/$/, ''));

/** Whether a path still has a part that the unit does not show; `$HOME` is known to the host. */
export const isHidden = (path: string): boolean =>
  /[$%`*?[\]]|^~/.test(withoutHome(path).replaceAll('%%', ''));

const withoutHome = (path: string): string => path.replace(/^\$HOME(?=\/|$)/, '');

/** The path, absolute or below `$HOME`, without `.` and `..`. */
export function resolveIn(directory: string, path: string): string {
  const whole = /^(?:\/|\$HOME(?:\/|$)|\$\{)/.test(path) ? path : `${directory}/${path}`;
  const parts: string[] = [];
  for (const part of whole.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.length > 0 && !/[$%]/.test(parts.at(-1) ?? '')) parts.pop();
    else if (parts.length > 0) parts.push(part);
  }
  return whole.startsWith('/') ? `/${parts.join('/')}` : parts.join('/');
}

/** The scene after `NAME=value` words. */
export function assignIn(scene: Scene, words: readonly string[]): Scene {
  let { path } = scene;
  const variables = new Map(scene.variables);
  for (const word of words) {
    const equals = word.indexOf('=');
    if (equals <= 0) continue;
    const name = word.slice(0, equals);
    const value = expandIn({ variables }, word.slice(equals + 1));
    if (name === 'PATH') path = foldersOf({ ...scene, path }, value);
    else variables.set(name, value);
  }
  return { ...scene, variables, path };
}

/** `$PATH` within the new value stands for the path so far. */
function foldersOf(scene: Scene, value: string): readonly string[] {
  return value
    .split(':')
    .flatMap((folder) =>
      folder === '$PATH' ? scene.path : [resolveIn(scene.directory, folder || '.')],
    );
}

/** The scene after one command of a shell. */
export function runIn(scene: Scene, command: readonly string[]): Scene {
  const [name = '', ...words] = command;
  const [first = ''] = words.filter((word) => word !== '--');
  if (/^(?:if|then|else|elif|while|until|do|for|case|!|\{)$/.test(name)) {
    return runIn(scene, words) === scene || words.length === 0
      ? scene
      : hide(scene, `a condition (${command.join(' ')})`);
  }
  if (command.every(isAssignment)) return assignIn(scene, command);
  if (name === 'export' || name === 'declare' || name === 'readonly') {
    return assignIn(scene, words.filter(isAssignment));
  }
  if (name === 'cd' || name === 'pushd') {
    return { ...scene, directory: resolveIn(scene.directory, expandIn(scene, first || '~')) };
  }
  if (name === '.' || name === 'source') return sourceIn(scene, words);
  if (/^(?:conda|mamba|micromamba|pyenv|workon|nvm|module|eval)$/.test(name)) {
    return name === 'conda' && first === 'activate'
      ? activateConda(scene, words[words.indexOf(first) + 1] ?? 'base')
      : hide(scene, command.join(' '));
  }
  return scene;
}

const isAssignment = (text: string): boolean => /^[A-Za-z_][A-Za-z0-9_]*=/.test(text);

/** Nothing behind the known folders of the path can be told, nor can any variable. */
const hide = (scene: Scene, by: string): Scene => ({
  ...scene,
  variables: new Map(),
  path: [],
  hiddenBy: by,
});

function sourceIn(scene: Scene, words: readonly string[]): Scene {
  const [script = '', argument] = words;
  const path = resolveIn(scene.directory, expandIn(scene, script));
  const conda = /^(.*)\/etc\/profile\.d\/conda\.sh$/.exec(path)?.[1];
  if (conda !== undefined) {
    return { ...scene, variables: new Map(scene.variables).set(condaRoot, conda) };
  }
  const folder = /^(.*)\/bin\/activate$/.exec(path)?.[1];
  if (folder === undefined) return hide(scene, `${words.length > 0 ? `. ${script}` : '.'}`);
  // Conda's own script of this name takes the environment as an argument.
  if (argument !== undefined) {
    const variables = new Map(scene.variables).set(condaRoot, folder);
    return activateConda({ ...scene, variables }, argument);
  }
  return activate(scene, [folder]);
}

const condaRoot = 'conda root';

/** Environments are next to conda itself or, where its folder is read-only, in the user's home. */
function activateConda(scene: Scene, written: string): Scene {
  const name = expandIn(scene, written);
  if (name.includes('/')) return activate(scene, [resolveIn(scene.directory, name)]);
  const root = scene.variables.get(condaRoot);
  if (root === undefined) return hide(scene, `conda activate ${written}`);
  return activate(
    scene,
    name === 'base' ? [root] : [`${root}/envs/${name}`, `$HOME/.conda/envs/${name}`],
  );
}

function activate(scene: Scene, folders: readonly string[]): Scene {
  const [folder = ''] = folders;
  return {
    ...scene,
    path: [...folders.map((one) => `${one}/bin`), ...scene.path],
    variables: new Map(scene.variables).set('VIRTUAL_ENV', folder),
  };
}
